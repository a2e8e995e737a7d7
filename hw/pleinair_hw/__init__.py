"""An integer network in, an accelerator out (FINN+, our RTL blocks)."""
