"""What families of models did: laws, pairwise comparisons, compute-optimal splits, predictions, advice."""
