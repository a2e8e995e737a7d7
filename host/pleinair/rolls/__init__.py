"""A time-lapse on disk: originals, journal, painted pieces, and what works on them.

``roll.py`` says what lies on the disk, in which order it is written, and puts a roll in order after a power cut. Then
capture goes on in ``resuming.py`` (``resume_roll``) and painting in ``developer.py``.
"""
