"""A film of a day in a drawn valley: python film_day.py day.mp4"""

import sys

import pleinair

with pleinair.open_painter("starry-night-small") as painter:
    pleinair.film("synthetic:3", painter, sys.argv[1], every=3600, frames=24, size=(320, 180), timestamp=True)
