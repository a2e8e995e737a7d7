"""The stitched design in Verilator, cycle by cycle, and the proof that it paints the reference."""
