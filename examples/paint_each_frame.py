"""Paint many frames as fast as this machine can: python paint_each_frame.py"""

import time

import pleinair

camera = pleinair.open_camera("synthetic:7", size=(320, 180), every=3600, frames=12)
with pleinair.open_painter("great-wave") as painter:
    began = time.monotonic()
    frames = (frame.image for frame in camera.frames())
    for number, painting in enumerate(painter.paint_each(frames)):
        print(f"frame {number}: mean colour {painting.mean((0, 1)).round().astype(int)}")
    print(f"{painter}: {12 / (time.monotonic() - began):.1f} frames a second")
