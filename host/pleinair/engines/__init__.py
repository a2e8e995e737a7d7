"""A network on the processor: lowering to operations, and the libraries that compute them exactly."""
