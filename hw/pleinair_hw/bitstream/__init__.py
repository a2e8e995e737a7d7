"""Bitstreams without a vendor's tools: features to bits, bits back to features, and those back to a netlist.

:mod:`.database` reads prjxray's tables of a chip, :mod:`.fasm` the features that nextpnr writes, :mod:`.assemble` makes
a .bit of them, :mod:`.read` takes a .bit apart again and compares, :mod:`.layout` is the file's layout itself.
"""
