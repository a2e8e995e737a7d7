"""The record of a build folder: ``build.json``, which `pleinair build` writes and whoever paints with a build reads.

One JSON object:

- ``format`` "pleinair-build", ``version`` 1.
- ``state``: "started", then "complete" once everything else in the folder is written.
- ``request``: what was asked for, as plain values: ``model`` (a style's name or folder), ``size`` [width, height] of
  the frame, and the other options of the build.
- ``style`` (its title), ``bits``, ``margin``, ``grain``, ``network_sha256``: the network that is built.
- ``height``, ``width``: the accelerator's frame in pixels, margin included; ``inset``: how many of them its painting is
  without on each side (0 where it is missing).
- ``board``, ``clock_mhz``: what it is built for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair import durable
from pleinair.documents import read_record
from pleinair.fpga.deployment import MANIFEST, DeploymentError
from pleinair.network.integer import BITS

STATE = "build.json"
#: Where a build says what its RTL is; as in settings.json, "light" is the map of an adaptive network's registers.
RTL_MANIFEST = "rtl/manifest.json"
FORMAT, VERSION = "pleinair-build", 1
STARTED, COMPLETE = "started", "complete"
_MAX_BYTES = 8 << 20


@dataclass(frozen=True)
class Build:
    """The facts of a build folder; the fields are described at the top of this file."""

    request: Mapping[str, Any]
    style: str
    bits: int
    margin: int
    grain: int
    height: int
    width: int
    board: str
    clock_mhz: float
    network_sha256: str
    inset: int = 0

    @property
    def model(self) -> str:
        """The style as it was asked for: a name, or a model's folder."""
        return str(self.request["model"])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames that the accelerator was built for, without their margin."""
        width, height = self.request["size"]
        return int(width), int(height)

    def to_json(self, state: str) -> str:
        """The file's text; ``state`` is STARTED or COMPLETE."""
        facts = {key: value for key, value in vars(self).items() if key != "inset" or value}
        return json.dumps({"format": FORMAT, "version": VERSION, "state": state, **facts}, indent=1) + "\n"

    def write(self, folder: Path, state: str) -> None:
        """Write build.json, whole or not at all. Raises OSError."""
        durable.write_file(folder / STATE, self.to_json(state).encode())


def is_build(folder: Path) -> bool:
    """Whether a folder is a build's and not a deployment's."""
    return os.path.isfile(folder / STATE) and not os.path.isfile(folder / MANIFEST)


def read_build(folder: Path) -> Build:
    """Read a finished build's facts. Raises DeploymentError."""

    def refuse(_: str) -> DeploymentError:
        return DeploymentError(f"{folder}: not a build folder ({STATE} missing or damaged)")

    record = read_record(folder / STATE, most=_MAX_BYTES, error=refuse)
    record.check_format(FORMAT, VERSION)
    if record.string("state") != COMPLETE:
        raise DeploymentError(f"{folder}: the build was interrupted; run it again")
    request = record.part("request")
    # Whoever reads a build asks for these two.
    request.string("model", 4096)
    request.size("size")
    return Build(
        request=request.values,
        style=record.string("style", 4096),
        bits=record.choice("bits", BITS),
        margin=record.whole("margin", 0, 1 << 16),
        grain=record.whole("grain", 0, 255),
        height=record.whole("height", 1, 1 << 16),
        width=record.whole("width", 1, 1 << 16),
        board=record.string("board"),
        clock_mhz=record.number("clock_mhz", 1, 10_000),
        network_sha256=record.string("network_sha256"),
        inset=record.whole("inset", 0, 1 << 15) if record.has("inset") else 0,
    )
