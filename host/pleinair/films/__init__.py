"""Paintings into a film: what is done to frames before and after painting, and the file."""
