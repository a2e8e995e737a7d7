"""How far the paintings of fewer bits are from the float network's: python compare_bits.py"""

import numpy as np

import pleinair

camera = pleinair.open_camera("synthetic", size=(320, 180))
frame = next(camera.frames(96)).image  # half past twelve
wanted = pleinair.paint(frame, style="starry-night", bits=32).astype(int)
for bits in (16, 8, 4):
    painting = pleinair.paint(frame, style="starry-night", bits=bits)
    print(f"{bits} bits: {np.abs(painting - wanted).mean():.2f} grey levels")
