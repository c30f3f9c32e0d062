"""Measuring: what a model costs, how fast it runs, how exact it stays, and on what machine."""
