"""How far the paintings of fewer bits are from those of 16 bits: python compare_bits.py"""

import numpy as np

import pleinair

camera = pleinair.open_camera("synthetic", size=(320, 180))
frame = next(camera.frames(96)).image  # half past twelve
wanted = pleinair.paint(frame, style="starry-night-board", bits=16).astype(int)
for bits in (8, 4):
    painting = pleinair.paint(frame, style="starry-night-board", bits=bits)
    print(f"{bits} bits: {np.abs(painting - wanted).mean():.2f} grey levels")
