"""A frame in, the same frame painted: margin, grain, tiles around any runner of a network."""
