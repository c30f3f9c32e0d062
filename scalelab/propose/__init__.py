"""What analysis found, as a study that runs: within a budget, a narrower space, a latency limit."""
