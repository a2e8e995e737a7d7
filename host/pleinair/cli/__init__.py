"""The command line: options into calls of the library, results into lines."""

import os

# OpenCV reads its bound on decoded pixels once, when it is loaded; it refuses larger images from their header.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "64000000")
