"""A network on the processor: lowering to operations, and the libraries that compute them exactly.

``exact.py`` names the engines and compares each with the reference before its first frame; the tests of every engine in
its list are in ``tests/host/engines/test_exact.py``. CONTRIBUTING.md has the steps to add one.
"""
