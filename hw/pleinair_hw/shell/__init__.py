"""What lies between a processing system and a stitched accelerator: our own engines for memory access and registers.

``write`` puts ``hw/pleinair_hw/rtl/shell.sv`` around an accelerator: for open tools with the processing system of a
Zynq-7000, for Vivado as a block for its block design. ``board`` simulates the whole.
"""
