"""FINN's nodes and our blocks as one design of RTL.

``tcl`` reads what FINN tells Vivado about a node, ``verilog`` reads the header of a module, ``manifest`` describes the
folder that holds the result, and ``write`` puts the accelerator together.
"""

from pleinair.errors import PleinairError


class StitchError(PleinairError):
    """FINN's nodes cannot be stitched: a Tcl command, a port or a width is not known here."""
