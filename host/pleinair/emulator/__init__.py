"""No board at hand: an emulated one that unmodified pynq drives."""
