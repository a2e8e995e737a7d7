"""The workshop: a painting and photos in, an integer network out (torch, brevitas)."""
