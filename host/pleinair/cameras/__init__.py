"""Where frames come from: stored pictures, videos, V4L2; guarded, turned and cropped."""
