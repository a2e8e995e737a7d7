"""Where frames come from: stored pictures, videos, V4L2; guarded, turned and cropped.

``camera.py`` says what a camera is, ``opening.py`` opens one by its name and says what a new one touches.
"""
