"""A painted film from a folder of pictures, in the order of their names: python film_pictures.py FOLDER film.mp4"""

import sys

import pleinair

folder, film = sys.argv[1:3]
with pleinair.open_painter("starry-night") as painter:
    made = pleinair.film(f"frames:{folder}", painter, film, fps=24)
print(f"{made.film}: {made.progress.recorded} frames; left out: {made.skipped or 'none'}")
