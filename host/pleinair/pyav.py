"""PyAV as cameras and films both use it: whether it is there, and its colour conversion in one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

#: What to say to somebody without PyAV.
MISSING = "needs av (PyAV): pip install '.[cpu]' in a checkout of pleinair"


def reformatter() -> Callable[..., Any]:
    """A function that converts PyAV's frames to another pixel format.

    It works in the calling thread and keeps its tables from call to call, so each thread takes one of its own.
    """
    import av
    from av.video.reformatter import VideoReformatter

    # From 16 on PyAV would wake as many threads as there are cores, for half a millisecond's work.
    threads: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 16 else {}
    return partial(VideoReformatter().reformat, **threads)
