"""A time-lapse on disk: originals, journal, painted pieces, and what works on them."""
