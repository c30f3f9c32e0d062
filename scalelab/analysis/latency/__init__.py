"""Latency: laws of it, tree models of it, the best network within a limit, and a summary of measurements."""
