"""Timing models: networks on the backends of this machine, one process per target, into the store."""
