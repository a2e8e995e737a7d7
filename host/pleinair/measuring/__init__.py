"""Measuring: engines, films and memory on this machine, and machines compared."""
