"""Timing models: networks on the backends of this machine, one process a target, into the store."""
