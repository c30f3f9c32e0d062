"""Stands here so that tests in the folders below can import the tables of this one."""
