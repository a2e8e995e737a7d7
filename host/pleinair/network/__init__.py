"""The integer network: the contract that every machine keeps, its reference, its files."""
