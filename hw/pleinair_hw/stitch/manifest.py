"""The folder of a stitched accelerator and its ``manifest.json``.

The folder needs neither FINN nor the place where it was made::

    manifest.json     a Manifest: top module, sources in order, ports, streams, FIFOs, the map of the light's
                      registers where the network is adaptive, and each file's SHA-256
    accelerator.sv    the top module
    sources/          every other source, corrected for its purpose (pleinair_hw.finn.patches)
    data/             what the sources read at time 0: weights

For simulation the top module has more outputs. ``valid_N`` and ``ready_N`` are the handshakes of streams 64 N to
64 N + 63, the first at the LSB. ``maxcount_N`` is the most words that FIFO N has held.

For the sizing of FIFOs every stream between nodes holds a gauge (``hw/pleinair_hw/rtl/gauge.sv``). The simulation then
reads two more files when it starts, with a hexadecimal number on each line: CAPACITIES has one for each gauge, PERIODS
one for each input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from pleinair.documents import Record, read_record
from pleinair.durable import file_sha256
from pleinair.fpga.light_map import LightMap, read_light_map
from pleinair_hw.stitch import StitchError

MANIFEST = "manifest.json"
FORMAT = 1
#: Largest manifest that is read, in bytes.
_MAX_MANIFEST = 64 << 20
CAPACITIES = "capacities.hex"
PERIODS = "periods.hex"
#: The AXI-lite port of an adaptive network's light.
LIGHT_PORT = "s_axilite_light"
#: Handshakes in one debug output.
DEBUG_BITS = 64


@dataclass(frozen=True)
class Port:
    """A stream at the accelerator's edge. A frame is ``shape`` (rows, columns, channels), pixel by pixel, channels
    fastest; ``lanes`` values of ``bits`` bits make a word, the first at the LSB; ``width`` is TDATA's in bits."""

    name: str
    width: int
    lanes: int
    bits: int
    signed: bool
    shape: tuple[int, int, int]

    @property
    def words(self) -> int:
        """Words of a frame."""
        return prod(self.shape) // self.lanes


@dataclass(frozen=True)
class Stream:
    """A stream between two nodes, or between a node and the edge (then one of the two is empty); ``words`` a frame.
    ``tensor`` is its name in FINN's graph, ``name`` its wires' in the top module."""

    name: str
    tensor: str
    producer: str
    consumer: str
    width: int
    words: int


@dataclass(frozen=True)
class Fifo:
    """A StreamingFIFO node: ``depth`` words of ``width`` bits, in the memory that ``ram_style`` names, behind the
    stream ``source``; or a gauge, whose depth is chosen when the simulation starts."""

    name: str
    source: str
    depth: int
    width: int
    ram_style: str


@dataclass(frozen=True)
class Node:
    """A node and what it should do: estimated ``cycles`` a frame; for a matrix product, which alone
    multiplies, ``macs`` a frame and multiplier ``lanes`` (else 0)."""

    name: str
    kind: str
    cycles: int
    macs: int = 0
    lanes: int = 0


@dataclass(frozen=True)
class Manifest:
    """What lies in a folder of stitched RTL. Paths are relative to the folder; ``files`` maps each to its SHA-256.

    ``light`` is the map of the port LIGHT_PORT (:mod:`pleinair.fpga.light_map`) as JSON has it, None without one.
    ``weights`` are the bits of an address of each port for writeable weights, ``s_axilite_0`` first.
    """

    top: str
    purpose: str
    sources: tuple[str, ...]
    data: tuple[str, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    streams: tuple[Stream, ...]
    fifos: tuple[Fifo, ...]
    nodes: tuple[Node, ...]
    files: Mapping[str, str]
    light: Mapping[str, Any] | None = None
    weights: tuple[int, ...] = ()

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``."""
        (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")

    @property
    def inset(self) -> int:
        """Pixels on each side of a frame that the painting is without (:mod:`pleinair.network.trimming`)."""
        return (self.inputs[0].shape[0] - self.outputs[0].shape[0]) // 2

    @property
    def light_map(self) -> LightMap | None:
        """The registers of the light, None without any. Raises StitchError for a damaged map."""
        if self.light is None:
            return None
        rows, columns, _ = self.inputs[0].shape

        def refuse(why: object) -> StitchError:
            return StitchError(f"the map of the light is damaged: {why}")

        return read_light_map(Record(f"{MANIFEST}: light", dict(self.light), refuse), rows, columns)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read ``manifest.json``; StitchError when it is missing or not of this form."""
        if not (folder / MANIFEST).exists():
            raise StitchError(f"{folder} holds no stitched RTL: {MANIFEST} is missing")

        def refuse(why: object) -> StitchError:
            return StitchError(f"{folder / MANIFEST} is not a manifest of stitched RTL: {why}")

        content = read_record(folder / MANIFEST, most=_MAX_MANIFEST, error=refuse, name=MANIFEST).values
        try:
            if content.pop("format") != FORMAT:
                raise ValueError("another version")
            kinds = {"inputs": Port, "outputs": Port, "streams": Stream, "fifos": Fifo, "nodes": Node}
            for name, kind in kinds.items():
                content[name] = tuple(kind(**item) for item in content[name])
            for name in ("inputs", "outputs"):
                content[name] = tuple(_replace_shape(port) for port in content[name])
            content["sources"], content["data"] = tuple(content["sources"]), tuple(content["data"])
            content["weights"] = tuple(int(bits) for bits in content.get("weights", ()))
            manifest = cls(**content)
            outside = [name for name in (*manifest.sources, *manifest.data, *manifest.files) if not _is_inside(name)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise refuse(error) from error
        if outside:
            raise StitchError(f"{folder / MANIFEST}: {outside[0]} lies outside its folder")
        return manifest

    def changed_files(self, folder: Path) -> list[str]:
        """The files that are missing or differ from when they were written."""
        return [name for name, digest in self.files.items() if file_digest(folder / name) != digest]


def _replace_shape(port: Port) -> Port:
    rows, columns, channels = port.shape
    return Port(port.name, port.width, port.lanes, port.bits, port.signed, (rows, columns, channels))


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def file_digest(file: Path) -> str:
    """The SHA-256 of a file, or the empty string where there is none."""
    return file_sha256(file) if file.is_file() else ""
