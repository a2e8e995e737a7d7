"""The page: all rolls under a folder, or the one that is being filmed, in a browser on a phone or a desktop."""
