"""What a comparison is made of, and ``report.json``: bits against backends for one style.

``report.json`` (``"format": "pleinair-comparison"``, version 1)
    ``style``; ``size`` [width, height] of the visible frame; ``rounds``; ``machine`` (processor, cores, architecture,
    system, python, packages); ``left_out``: a line for each thing that is missing and why; ``rows``; ``quality`` by
    bits, what `pleinair evaluate` found; ``price`` of each bit, or null.
    A row: ``backend`` and ``kind``: ``cpu`` (this machine's), ``board`` (an accelerator), ``other`` (another machine's
    processor); ``style`` that it paints; ``bits`` (32: float); ``how``: ``measured`` (here or on the
    board that ``where`` names), ``simulated`` (cycles of the simulated RTL at the planned clock), ``planned`` (cycles
    expected by the folding), ``emulated`` (a processor in the board's place: says nothing of a board), ``stated``
    (energy alone: what the board's power supply can give); ``engine``; ``threads`` or null; ``size``; ``fps`` or null
    where it does not fit; ``ms`` a frame with ``low_ms`` and ``high_ms``, the fastest and slowest of ``rounds``;
    ``megapixels`` of visible frame a second; ``speed_johnson`` and ``speed_8bit``: how many times as fast as Johnson's
    network in PyTorch and as the 8-bit network on this machine's default engine, with as many threads (boards: with
    the most), null where frames are of another size; ``macs_per_pixel``; ``bytes`` of the network's file (of Johnson's:
    of its float32 parameters); ``energy``: ``joules`` a frame, ``how`` (``measured``, ``stated``) and ``source``, or
    null; ``resources``: DSPs, LUTs, block RAMs of 36 Kib and UltraRAMs, or null; ``note``.
    ``price``: ``board``, ``fps`` at which all widths are compared, and by bits ``cpu_ms``, ``board_ms`` (the fastest
    that fits), ``bytes``, ``dsp``, ``lut``, ``memory_bits``, ``loss``; null where unknown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pleinair.engines.exact import DEFAULT_ENGINE
from pleinair.machine import Machine
from pleinair.network.floating import FLOAT_BITS

FORMAT = "pleinair-comparison"
VERSION = 1
MEASURED, SIMULATED, PLANNED, EMULATED, STATED = "measured", "simulated", "planned", "emulated", "stated"
JOHNSON = "Johnson network, PyTorch eager"
OUR_TORCH = "this style, PyTorch eager"
REFERENCE = "NumPy reference"
#: Labels of the engines that pleinair.engines.exact knows, and of others that a bench's file may name.
ENGINE_NAMES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "litert": "LiteRT",
    "pytorch": "PyTorch eager",
    "numpy": REFERENCE,
}
#: What the others and the boards are compared with.
BASE = ENGINE_NAMES[DEFAULT_ENGINE]


@dataclass(frozen=True)
class Energy:
    """Joules a frame; ``how`` is measured or stated."""

    joules: float
    how: str
    source: str


@dataclass(frozen=True)
class Row:
    """One line of the comparison; the module's docstring says what the fields mean."""

    backend: str
    kind: str
    style: str
    bits: int
    how: str
    where: str
    size: tuple[int, int]
    fps: float | None
    engine: str = ""
    threads: int | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    rounds: int | None = None
    speed_johnson: float | None = None
    speed_8bit: float | None = None
    macs_per_pixel: float | None = None
    bytes: int | None = None
    energy: Energy | None = None
    resources: dict[str, float] | None = None
    note: str = ""

    @property
    def ms(self) -> float | None:
        """Milliseconds a frame."""
        return None if self.fps is None else 1e3 / self.fps

    @property
    def megapixels(self) -> float | None:
        """Megapixels of visible frame a second."""
        return None if self.fps is None else self.fps * self.size[0] * self.size[1] / 1e6


@dataclass(frozen=True)
class Quality:
    """What `pleinair evaluate` found of a width; see ``pleinair_training.evaluation.Score``.

    ``loss`` is content plus style.
    """

    loss: float
    content: float
    style: float
    ratio: float | None = None
    ssim: float | None = None
    flicker: float | None = None


@dataclass(frozen=True)
class BitPrice:
    """What a width costs; see the module's docstring."""

    cpu_ms: float | None = None
    board_ms: float | None = None
    bytes: int | None = None
    dsp: int | None = None
    lut: int | None = None
    memory_bits: int | None = None
    loss: float | None = None


@dataclass(frozen=True)
class Price:
    """:class:`BitPrice` by bits; resources are of plans for ``board`` at ``fps``, None where no board was planned."""

    board: str | None
    fps: float | None
    by_bits: dict[int, BitPrice]


@dataclass(frozen=True)
class Comparison:
    """Everything a report is made of. ``evaluated``: whose scores ``quality`` holds, or empty."""

    style: str
    size: tuple[int, int]
    rounds: int
    machine: Machine
    rows: list[Row]
    quality: dict[int, Quality]
    price: Price
    left_out: list[str]


@dataclass(frozen=True)
class Request:
    """What is asked for; ``bits`` empty for all that the style has."""

    style: str
    size: tuple[int, int] = (640, 480)
    bits: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    boards: tuple[str, ...] = ()
    builds: tuple[Path, ...] = ()
    benches: tuple[Path, ...] = ()
    evaluation: Path | None = None
    rounds: int = 7


def width_name(bits: int) -> str:
    """``8 bits``, ``float``."""
    return "float" if bits == FLOAT_BITS else f"{bits} bits"


def thread_name(threads: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{threads} thread" + "s" * (threads != 1)


def as_json(comparison: Comparison) -> dict[str, object]:
    """What report.json holds."""
    machine = asdict(comparison.machine)
    rows = []
    for row in comparison.rows:
        entry = asdict(row)
        entry |= {"ms": row.ms, "megapixels": row.megapixels, "size": list(row.size)}
        rows.append(entry)
    price = {
        "board": comparison.price.board,
        "fps": comparison.price.fps,
        "by_bits": {str(b): asdict(p) for b, p in sorted(comparison.price.by_bits.items())},
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "style": comparison.style,
        "size": list(comparison.size),
        "rounds": comparison.rounds,
        "machine": machine,
        "rows": rows,
        "quality": {str(b): asdict(q) for b, q in sorted(comparison.quality.items())},
        "price": price,
        "left_out": comparison.left_out,
    }
