"""These tests need pynq, which needs NumPy below 2: they run in environments of their own.

tests/board/environments.sh makes those, tests/host/fpga/test_under_pynq.py runs pytest in them. Elsewhere nothing is
collected.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("pynq") is None:
    collect_ignore_glob = ["test_*.py"]
elif importlib.util.find_spec("finn_plus_driver") is None:
    collect_ignore = ["test_oracle.py"]
else:
    collect_ignore_glob = [
        name.name for name in Path(__file__).parent.glob("test_*.py") if name.name != "test_oracle.py"
    ]


@pytest.fixture(autouse=True)
def _clocks() -> Iterator[None]:
    from tests.board.boards import forget_clocks

    forget_clocks()
    yield
    forget_clocks()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes boards (see tests/board/boards.py) and afterwards looks whether anything was done wrong or left behind."""
    from tests.board.boards import Board

    made: list[Board] = []

    def make(*arguments: Any, **options: Any) -> Board:
        made.append(Board(tmp_path / f"board{len(made)}", *arguments, **options))
        return made[-1]

    yield make
    for b in made:
        b.close()
        assert not b.device.memory.live, "buffers were not freed"
        fabric = b.device.fabric
        assert fabric is None or not fabric.violations or b.forgiven, fabric.violations
