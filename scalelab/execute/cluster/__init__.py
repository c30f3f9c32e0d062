"""Trials on many machines: jobs of a Ray or a SLURM cluster that serve one study after trial after trial."""
