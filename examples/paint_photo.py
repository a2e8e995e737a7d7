"""Paint one photo: python paint_photo.py photo.jpg painting.png"""

import sys

import cv2

import pleinair

photo, painting = sys.argv[1:3]
frame = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)
painted = pleinair.paint(frame, style="great-wave")
cv2.imwrite(painting, cv2.cvtColor(painted, cv2.COLOR_RGB2BGR))
