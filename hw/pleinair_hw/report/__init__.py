"""A build's report."""
