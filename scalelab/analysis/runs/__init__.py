"""Tables of runs: their designs, which runs a question is about, and the frontier among them."""
