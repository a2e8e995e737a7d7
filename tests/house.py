"""Where the project lies, for tests that start another Python: it must import this checkout and no other."""

from __future__ import annotations

import os
from pathlib import Path

#: The checkout.
ROOT = Path(__file__).resolve().parents[1]
#: What stands on Python's path in a checkout: the four rooms, then the checkout itself for ``tests``.
PATHS = [str(ROOT / room) for room in ("host", "training", "hw", "pi")] + [str(ROOT)]
#: The same as the environment variable of that name.
PYTHONPATH = os.pathsep.join(PATHS)
#: Photos, paintings, film frames and loss networks beside a checkout; tests that need them skip where it is absent.
SHARED = ROOT.parent / "shared"
