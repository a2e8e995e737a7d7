"""The ground floor: frames in, painted film out. Its core needs NumPy and OpenCV only."""

import os

# OpenCV reads its bound on decoded pixels once, when it is loaded; it refuses larger images from their header.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "64000000")
