"""Begin a roll, and go on with it when this is called again: python roll.py FOLDER

A roll keeps originals, journal and paintings on disk, so it survives Ctrl-C, kills and power cuts. A live camera
("v4l2:0") is filmed the same way.
"""

import sys
from pathlib import Path

import pleinair


def main(folder: Path) -> None:
    if folder.exists():
        lapse = pleinair.resume_roll(pleinair.open_roll(folder))
    else:
        lapse = pleinair.begin_roll(
            folder, "synthetic", style="starry-night-small", every=3600, frames=6, size=(160, 96)
        )
    if lapse is not None:  # None where all was captured and the camera is gone
        with lapse:
            print(f"{folder}: {lapse.run()}")


# Painting runs in a process of its own, which imports this file.
if __name__ == "__main__":
    main(Path(sys.argv[1]))
