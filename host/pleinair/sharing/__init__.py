"""Styles as files that people give each other: packed, signed by their makers, proven and added."""
