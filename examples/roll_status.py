"""How a roll stands, also while another process films it: python roll_status.py FOLDER"""

import sys

import pleinair

status = pleinair.read_status(sys.argv[1])
print(f"{status.state}: {status.frames} frames by {status.camera}, {status.painted} painted, {status.pending} to come")
