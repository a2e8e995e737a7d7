"""The planner that ``pleinair compare`` asks: :class:`pleinair.measuring.outside.Planner`, answered by this room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pleinair.machine import cores
from pleinair.measuring import outside
from pleinair.measuring.outside import BoardPlan
from pleinair.models import Model
from pleinair.network.integer import IntegerNetwork
from pleinair.painting.tiles import padded_size
from pleinair_hw.plan.boards import BOARDS, Board, find_board
from pleinair_hw.plan.resources import Resources
from pleinair_hw.plan.search import DoesNotFitError, plan_for_rate
from pleinair_hw.plan.survey import survey


def _facts(board: Board) -> outside.Board:
    return outside.Board(board.name, board.title, board.dsp)


class Planner:
    """Searches plans; needs neither FINN nor Vivado."""

    def titles(self) -> Mapping[str, str]:
        """See :class:`pleinair.measuring.outside.Planner`."""
        return {name: board.title for name, board in BOARDS.items()}

    def board(self, name: str) -> outside.Board:
        """See :class:`pleinair.measuring.outside.Planner`."""
        return _facts(find_board(name))

    def fastest(
        self,
        style: str,
        boards: Sequence[str],
        size: tuple[int, int],
        bits: Sequence[int],
        report: Callable[[int, int], None],
    ) -> list[BoardPlan]:
        """See :class:`pleinair.measuring.outside.Planner`. Plans are searched in several processes."""
        rows = survey([style], boards, [size], bits, processes=cores(), progress=report)
        return [
            _plan(_facts(row.board), row.bits, clock_hz=row.clock_hz, fps=row.fps, binds=row.binds, total=row.total)
            for row in rows
        ]

    def at_rate(self, model: Model, size: tuple[int, int], board: outside.Board, fps: float) -> BoardPlan | None:
        """See :class:`pleinair.measuring.outside.Planner`."""
        network = model.network
        assert isinstance(network, IntegerNetwork)
        height, width = padded_size(size[1], size[0], model.margin, network.stride)
        try:
            plan = plan_for_rate(network, height, width, find_board(board.name), fps)
        except DoesNotFitError:
            return None
        return _plan(board, network.bits, clock_hz=plan.clock_hz, fps=plan.fps, binds="", total=plan.total)


def _plan(
    board: outside.Board, bits: int, *, clock_hz: float, fps: float | None, binds: str, total: Resources
) -> BoardPlan:
    return BoardPlan(
        board=board,
        bits=bits,
        clock_hz=clock_hz,
        fps=fps,
        binds=binds,
        dsp=total.dsp,
        lut=total.total_lut,
        bram18=total.bram18,
        uram=total.uram,
    )
