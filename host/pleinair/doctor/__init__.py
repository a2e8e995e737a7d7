"""What is wrong with this machine before a time-lapse begins."""
