"""A network on a board: the accelerator's driver, its painter, the folder that is deployed.

``painter.py`` cuts a frame into tiles, ``driver.py`` brings each to the board and back.
"""
