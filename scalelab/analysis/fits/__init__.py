"""The notebook's face of a fit: fit a law, compare two, chain two, find the compute-optimal split."""
