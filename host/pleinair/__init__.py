"""The ground floor: frames in, painted film out. Its core needs NumPy and OpenCV only."""
