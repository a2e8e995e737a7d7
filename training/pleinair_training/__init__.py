"""The workshop: a painting and photos in, an integer network out (torch, brevitas).

Two files make integers of a float network: ``rounding.py`` of an adaptive one, ``quantized_net.py`` of one of shape
johnson. The arithmetic that they aim at is defined in ``pleinair.network.reference`` and docs/integer-network.md.
"""
