"""Paintings into a film: what is done to frames before and after painting, and the file.

``treatment.py`` is the order in which a film's filters run, ``lighting.py`` the light in which each frame is painted.
"""
