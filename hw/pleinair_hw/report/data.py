"""What a build's report tells, as numbers: a :class:`Report`, and ``report.json``, which holds just that.

``report.json`` (``"format": "pleinair-build-report"``, version 1) has the fields of :class:`Report` and of the classes
in it, by their names: tuples are lists there, and what is None is null. Resources are counted by kind, as in
:data:`pleinair_hw.plan.resources.NAMES`: ``lut`` includes ``lutram``, and ``bram`` counts blocks of 18 Kib. Resources
of the stages and of the shell add up to what is ``used``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

from pleinair.documents import Record, read_record, short
from pleinair.fpga.deployment import DeploymentError
from pleinair_hw.plan.resources import NAMES

FORMAT = "pleinair-build-report"
VERSION = 1
JSON_FILE = "report.json"
#: FINN's estimates of a stage, as it names them.
ESTIMATES = ("cycles", "LUT", "DSP", "BRAM_18K", "URAM")
#: Kinds of stages that stand on a stream between two others.
ON_STREAMS = ("StreamingDataWidthConverter", "StreamingFIFO")
_MAX_FILE = 16 << 20
#: Numbers are below it: larger ones would overflow.
_MOST = 1 << 63
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

#: Counts of resources by kind.
Counts: TypeAlias = dict[str, int]


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    ``size`` is the frame that the user sees, ``input`` what the network paints, with ``margin`` pixels on each side;
    both (width, height). ``fps`` is None for as fast as can be.
    """

    bits: int
    size: tuple[int, int]
    margin: int
    input: tuple[int, int]
    fps: float | None
    writeable_weights: bool
    pumped: bool
    network_sha256: str


@dataclass(frozen=True)
class BoardFacts:
    """The board: its name on the command line, its name for people, its chip, and the kind of DSP."""

    name: str
    title: str
    part: str
    dsp_block: str


@dataclass(frozen=True)
class Fullest:
    """The resource nearest its budget. ``share`` of the board; None where the board has none of it."""

    resource: str
    share: float | None
    budget: float


@dataclass(frozen=True)
class Rate:
    """The planned rate. ``interval`` in cycles between frames; ``binding_stages`` take all of it."""

    fps: float
    interval: int
    binding_stages: tuple[str, ...]
    fullest: Fullest


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates a frame as executed and as the network has them, and the multiplier lanes that do them."""

    macs_executed: int
    macs_network: int
    lanes: int
    lanes_busy: float
    ideal_cycles: int


@dataclass(frozen=True)
class Filling:
    """How much of a resource is used. ``share`` is None where the board has none; ``budget`` may be filled."""

    used: int
    available: int
    share: float | None
    budget: float


@dataclass(frozen=True)
class ConvolutionFigures:
    """A convolution with all its stages; ``slowest`` of them takes ``cycles``."""

    name: str
    form: str
    kernel: int
    stride: int
    inputs: int
    outputs: int
    weight_bits: int
    macs: int
    simd: int
    pe: int
    lanes: int
    lanes_busy: float
    cycles: int
    slowest: str
    resources: Counts


@dataclass(frozen=True)
class MemoryFigures:
    """A stage's memory: ``words`` of ``bits``, what it is made of, and what it takes."""

    words: int
    bits: int
    style: str
    resources: Counts


@dataclass(frozen=True)
class StageFigures:
    """A stage.

    It ``reads`` stages by name, in order of its inputs; none for the pixels from outside. It gives frames of ``shape``
    (height, width, channels) in words of ``stream_bits``. ``busy`` is the share of the interval, ``depth`` a FIFO's in
    words. ``finn`` has those of :data:`ESTIMATES` that are known.
    """

    name: str
    kind: str
    layer: str
    reads: tuple[str, ...]
    simd: int
    pe: int
    shape: tuple[int, int, int]
    stream_bits: int
    cycles: int
    busy: float
    macs: int
    lanes: int
    depth: int
    parallel_window: bool
    resources: Counts
    memory: MemoryFigures | None
    finn: dict[str, float] | None


@dataclass(frozen=True)
class Measured:
    """What simulation gave.

    ``latency`` and ``interval`` in cycles, ``fps`` at the planned clock; ``differing`` bytes of all frames are not the
    integer reference's. ``occupancies`` are the most words held, by FIFO. What takes two frames is None after one; in
    the file it is left out.
    """

    frames: int
    differing: int
    latency: int
    occupancies: Counts
    cycles: int
    cycles_per_second: int
    interval: int | None = None
    fps: float | None = None
    lanes_busy: float | None = None


@dataclass(frozen=True)
class PlacedAndRouted:
    """What place and route by open tools gave, for the accelerator with its shell.

    ``fmax_mhz`` is the highest clock as routed, ``clock_mhz`` what the accelerator runs at: at least ``margin`` per
    cent less, and no more than planned. ``fps`` is the planned rate at that clock. ``untimed`` are primitives, or
    single pins of them, for which nobody has figures; ``features`` is how many features of the chip the bitstream sets;
    ``hold_misses`` how many hold times are missed by the placer's figures, None where nobody has counted.
    """

    fmax_mhz: float
    margin: float
    clock_mhz: float
    fps: float
    seed: int
    resources: Counts
    untimed: tuple[str, ...]
    features: int
    hold_misses: int | None = None


@dataclass(frozen=True)
class Report:
    """A build, what it costs, and how fast it is. ``stages`` are in the order of the pipeline."""

    title: str
    asked: Asked
    board: BoardFacts
    clock_mhz: float
    rate: Rate
    work: Work
    resources: dict[str, Filling]
    shell: Counts
    convolutions: tuple[ConvolutionFigures, ...]
    stages: tuple[StageFigures, ...]
    measured: Measured | None = None
    routed: PlacedAndRouted | None = None

    @property
    def setting(self) -> str:
        """The stage to name as the one that sets the rate: of several as slow, a product, as it costs most to hurry."""
        names = self.rate.binding_stages
        products = [s.name for s in self.stages if s.name in names and s.kind == "MVAU"]
        return (products or names)[0]


def as_json(report: Report) -> dict[str, Any]:
    """What ``report.json`` holds."""
    values = {"format": FORMAT, "version": VERSION, **asdict(report)}
    if values["routed"] is None:
        del values["routed"]
    if values["measured"] is not None:
        values["measured"] = {key: value for key, value in values["measured"].items() if value is not None}
    return values


# -- back from the file


def read_report(folder: Path) -> Report:
    """The report of the build in ``folder``. Raises DeploymentError for a file that is none."""
    record = read_record(folder / JSON_FILE, most=_MAX_FILE, error=DeploymentError)
    record.check_format(FORMAT, VERSION)
    name = str(folder / JSON_FILE)
    report: Report = _parsed(Report, record.values, name)
    _check(report, name)
    return report


def _parsed(kind: Any, value: Any, name: str) -> Any:
    """``value`` of JSON as a ``kind``, which is a class of this module or the type of one of its fields."""
    arguments = get_args(kind)
    if get_origin(kind) is UnionType:  # X | None
        return None if value is None else _parsed(arguments[0], value, name)
    if is_dataclass(kind):
        values, hints = Record(name, value, DeploymentError).values, get_type_hints(kind)
        parts = {f.name: _parsed(hints[f.name], values.get(f.name), f"{name}: {f.name}") for f in fields(kind)}
        return kind(**parts)  # type: ignore[operator]
    if get_origin(kind) is dict:
        record = Record(name, value, DeploymentError)
        return {key: _parsed(arguments[1], part, f"{name}: {key}") for key, part in record.items()}
    if get_origin(kind) is tuple:
        kinds = arguments
        if isinstance(value, list) and arguments[-1] is Ellipsis:
            kinds = arguments[:1] * len(value)
        if not isinstance(value, list) or len(value) != len(kinds):
            raise DeploymentError(f"{name} {short(value)}; allowed is a list of {len(kinds)}")
        return tuple(_parsed(k, part, f"{name} {i}") for i, (k, part) in enumerate(zip(kinds, value, strict=True), 1))
    sound = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if not sound or (kind in (int, float) and not abs(value) < _MOST):
        raise DeploymentError(f"{name} {short(value)}; allowed is {_KINDS[kind]}")
    return value


def _check(report: Report, name: str) -> None:
    """Refuse figures of the right types that are of no pipeline."""
    names = {s.name for s in report.stages}
    counts = [report.shell, *(c.resources for c in report.convolutions), *(s.resources for s in report.stages)]
    counts += [s.memory.resources for s in report.stages if s.memory is not None]
    try:
        connected = set(TopologicalSorter({s.name: s.reads for s in report.stages}).static_order()) == names
    except CycleError:
        connected = False
    if not (
        connected
        and len(names) == len(report.stages)
        and any(s.kind not in ON_STREAMS for s in report.stages)
        and len(report.rate.binding_stages) > 0
        and names.issuperset(report.rate.binding_stages)
        and report.resources.keys() == NAMES.keys()
        and all(c.keys() == NAMES.keys() for c in counts)
        and report.rate.fullest.resource in NAMES
        and all(min(s.shape) > 0 for s in report.stages)
        and report.work.macs_network > 0
    ):
        raise DeploymentError(f"{name}: damaged, its figures are of no pipeline")
