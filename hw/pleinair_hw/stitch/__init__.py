"""FINN's nodes and our blocks as one design of RTL."""
