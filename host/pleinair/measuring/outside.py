"""What measuring asks of other rooms: plans for boards, and networks in PyTorch to compare with.

``pleinair_hw.plan.planner`` and ``pleinair_training.johnson`` answer; the command line brings them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pleinair.models import Model
from pleinair.network.floating import FloatNetwork
from pleinair.painting.whole import FrameRunner

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Board:
    """A board: its name in options and files, its name for people, and its DSPs."""

    name: str
    title: str
    dsp: int


@dataclass(frozen=True)
class BoardPlan:
    """An accelerator as it is planned for a board.

    ``fps`` is None where nothing fits, and ``binds`` says what keeps it from being faster, or from fitting. ``bram18``
    counts halves of a block RAM.
    """

    board: Board
    bits: int
    clock_hz: float
    fps: float | None
    binds: str
    dsp: int
    lut: int
    bram18: int
    uram: int


class Planner(Protocol):
    """Plans accelerators without building them."""

    def titles(self) -> Mapping[str, str]:
        """Every board's name for people, by its name."""
        ...

    def board(self, name: str) -> Board:
        """The board of that name. Raises OptionError."""
        ...

    def fastest(
        self,
        style: str,
        boards: Sequence[str],
        size: tuple[int, int],
        bits: Sequence[int],
        report: Callable[[int, int], None],
    ) -> list[BoardPlan]:
        """The fastest plan for every board and width; ``size`` is (width, height), ``report`` gets (done, total)."""
        ...

    def at_rate(self, model: Model, size: tuple[int, int], board: Board, fps: float) -> BoardPlan | None:
        """The cheapest plan that paints so many frames a second; None where none fits."""
        ...


@dataclass(frozen=True)
class JohnsonNetwork:
    """Johnson's network with random weights: its cost, and what paints with it."""

    macs_per_pixel: float
    bytes: int
    run: Run


class Torch(Protocol):
    """PyTorch's eager mode."""

    name: str

    def johnson(self) -> JohnsonNetwork:
        """Johnson's network, made anew."""
        ...

    def plain(self, network: FloatNetwork) -> FrameRunner:
        """A style's float network."""
        ...


#: Opens PyTorch with so many threads; raises ImportError where it is not installed.
OpenTorch = Callable[[int], Torch]
