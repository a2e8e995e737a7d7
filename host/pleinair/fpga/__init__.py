"""A network on a board: the accelerator's driver, its painter, the folder that is deployed."""
