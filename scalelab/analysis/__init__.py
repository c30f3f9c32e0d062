"""What the runs of a store say: laws and their uncertainty, comparisons, fronts, trees, spaces, latency."""
