"""Which engine was the fastest exact one on this machine: what ``pleinair bench`` found, for the engine "auto".

``$XDG_CACHE_HOME/pleinair/engines.json`` (``~/.cache`` by default) is ``{"format": "pleinair-engines", "version": 1,
"fastest": {KEY: ENGINE}}``, the latest entry last. A KEY names all that the answer depends on: processor and board,
pleinair and the engines' versions, the network's width and work, and threads. If one of them changes, so does the key,
and no outdated answer is given. It is a hint about speed alone: every engine checks itself before its first frame. So
a file that is missing, damaged or of another kind counts as empty, and one that cannot be written is not written.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from pleinair import durable
from pleinair.documents import read_record
from pleinair.errors import PleinairError
from pleinair.machine import board, cores, processor, versions
from pleinair.network.integer import IntegerNetwork

FORMAT = "pleinair-engines"
#: Packages that compute, and the one that makes their graphs.
PACKAGES = ("pleinair", "onnxruntime", "openvino", "ai-edge-litert")
#: Most entries that are kept; a machine has a handful of widths and thread counts.
MAX_ENTRIES = 64
_MAX_BYTES = 1 << 17
_MAX_NAME = 64


def memory_file() -> Path:
    """The file's path. $XDG_CACHE_HOME counts only as an absolute path, as its specification says."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(cache) if os.path.isabs(cache) else Path(os.path.expanduser("~")) / ".cache"
    return folder / "pleinair" / "engines.json"


def key(network: IntegerNetwork, threads: int) -> str:
    """What the fastest engine depends on, in one line. ``threads`` 0 means every core."""
    packages = " ".join(f"{name}={version}" for name, version in versions(PACKAGES).items())
    work = f"{network.macs_per_pixel():.0f} MACs"
    width, on = f"{network.bits} bits", f"{threads or cores()} threads"
    parts = (processor(), board(), os.uname().machine, packages, width, work, on)
    return " | ".join(parts)


def _entries(path: Path) -> dict[str, str]:
    try:
        record = read_record(path, most=_MAX_BYTES, error=PleinairError)
        record.check_format(FORMAT)
    except PleinairError:
        return {}
    fastest = record.values.get("fastest")
    if not isinstance(fastest, dict):
        return {}
    return {k: v for k, v in fastest.items() if isinstance(v, str) and 0 < len(v) <= _MAX_NAME}


def remembered(network: IntegerNetwork, threads: int) -> str | None:
    """The engine that was fastest for such a network with ``threads`` (0: every core); None where none is known.

    The name may be any text: the caller must check that it is an engine's.
    """
    return _entries(memory_file()).get(key(network, threads))


def remember(network: IntegerNetwork, threads: int, engine: str) -> None:
    """Keep that ``engine`` is the fastest exact one here. A file that cannot be written is no error."""
    path = memory_file()
    entries = _entries(path)
    entries.pop(key(network, threads), None)
    entries[key(network, threads)] = engine
    latest = dict(list(entries.items())[-MAX_ENTRIES:])
    text = json.dumps({"format": FORMAT, "version": 1, "fastest": latest}, indent=1)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_file(path, text.encode(), durable=False, shared=True)
