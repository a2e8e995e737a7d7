"""The synthetic day: a valley drawn in exact arithmetic, for every test and demonstration."""
