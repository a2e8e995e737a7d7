"""From RTL to a bitstream without a vendor: Yosys, nextpnr and our own assembler (docs/bitstream.md)."""
