"""FINN as we use it: environment, patches, operators of our own, the compiler."""
