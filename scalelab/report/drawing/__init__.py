"""Pixels: figures drawn from their numbers with matplotlib."""
