"""What is asked of a simulation for a frame in a light; tests/board/test_rtl.py sends such frames through RTL."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pleinair.fpga.light_map import Station, lay_out
from pleinair.fpga.light_port import APPLY, METER
from pleinair.painting.tiles import Window
from pleinair_hw.simulate import stations
from pleinair_hw.simulate.script import OKAY, SLVERR, Reply
from pleinair_hw.simulate.stations import SimulatedStations
from pleinair_hw.simulate.verilator import SimulationError

LIGHT = lay_out("identity", [Station("enter", 2, 4, 4, 1), Station("up1", 1, 8, 8, 1)])
FRAME = np.zeros((16, 16, 3), np.uint8)
TABLES = [np.arange(8, dtype=np.uint32).reshape(2, 4), np.array([[9, 8, 7, 0]], np.uint32)]


@pytest.fixture
def asked(monkeypatch):
    """Scripts that were run; every read is answered with its address, all with ``response``."""
    made = SimpleNamespace(scripts=[], response=OKAY)

    def simulate(accelerator, frames, *, script, **_):
        made.scripts.append(script)
        replies = tuple(Reply(made.response, int(line.split()[1])) for line in script.lines)
        return SimpleNamespace(frames=255 - frames, replies=replies)

    monkeypatch.setattr(stations, "simulate", simulate)
    return made


def through(windows):
    accelerator = SimpleNamespace(manifest=SimpleNamespace(inputs=[SimpleNamespace(words=256)]))
    return SimulatedStations(accelerator, LIGHT)(FRAME, TABLES, windows)


def test_tables_are_in_effect_and_windows_armed_before_the_frame_and_sums_read_after_it(asked):
    painted, sums = through([None, Window(1, 2, 7, 6)])
    assert (painted == 255).all() and sums[0] is None
    assert sums[1].tolist() == [[LIGHT.stations[1].sums + 4 * k for k in range(4)]]
    lines = [tuple(line.split()) for line in asked.scripts[0].lines]
    assert lines[0] == ("a", "0", "0", "0")
    offered = lines.index(("a", "0", "256", "0"))
    written = {int(line[1]): int(line[2]) for line in lines[:offered] if line[0] == "w"}
    for station, table in zip(LIGHT.stations, TABLES, strict=True):
        assert [written[station.table + 4 * k] for k in range(table.size)] == table.reshape(-1).tolist()
        assert written[station.registers + 4 * APPLY] == 0
    assert LIGHT.stations[0].registers + 4 * METER not in written
    armed = LIGHT.stations[1].registers
    assert [written[armed + 4 * k] for k in (3, 4, 5)] == [1 | 7 << 16, 2 | 6 << 16, 0]
    assert [line[0] for line in lines[offered + 1 :]] == ["p", "r", "r", "r", "r"]


def test_a_refused_access_is_an_error(asked):
    asked.response = SLVERR
    with pytest.raises(SimulationError, match="the port of the light refused line 0: a 0 0"):
        through([None, None])
