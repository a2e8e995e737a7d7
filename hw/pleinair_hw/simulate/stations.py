"""A simulated accelerator as the emulated board drives it: frame after frame, each with the tables of its stations.

The board emulates which frame takes which table (:mod:`pleinair.emulator.stations`). Here a frame goes through the RTL
with those: a simulation from the reset on, whose driver writes the tables, arms what is metered, and reads the sums.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pleinair.fpga.light_map import LightMap, Station
from pleinair.fpga.light_port import APPLY, COLUMNS, COMPLETE, METER, METERED, ROWS
from pleinair.painting.tiles import Window
from pleinair_hw.simulate.script import OKAY, Script
from pleinair_hw.simulate.simulation import Accelerator, simulate
from pleinair_hw.simulate.verilator import SimulationError


class SimulatedStations:
    """See :data:`pleinair.emulator.stations.Through`."""

    def __init__(
        self, accelerator: Accelerator, light_map: LightMap, *, optimise: int = 2, cache: Path | None = None
    ) -> None:
        """``light_map``: the accelerator's. ``optimise`` and ``cache``: of the compiled simulation."""
        self._accelerator, self._map, self._optimise, self._cache = accelerator, light_map, optimise, cache

    def __call__(
        self, pixels: np.ndarray, tables: list[np.ndarray], windows: list[Window | None]
    ) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """A frame, uint8 [H, W, 3], with a table of uint32 [channels, 4] for each station; which windows are metered.

        Gives the painting, and the sums of the stations that meter, uint32 [channels, 4]. Raises SimulationError.
        """
        script = Script()
        script.allow(0)
        for station, table, window in zip(self._map.stations, tables, windows, strict=True):
            _write(script, station, table, window)
        script.allow(self._accelerator.manifest.inputs[0].words)
        lines = [
            None if window is None else _read_sums(script, station)
            for station, window in zip(self._map.stations, windows, strict=True)
        ]
        result = simulate(self._accelerator, pixels[None], script=script, optimise=self._optimise, cache=self._cache)
        for line, reply in enumerate(result.replies):
            if reply.response != OKAY:
                raise SimulationError(f"the port of the light refused line {line}: {script.lines[line]}")
        return result.frames[0], [
            None if own is None else np.array([result.replies[line].data for line in own], np.uint32).reshape(-1, 4)
            for own in lines
        ]


def _write(script: Script, station: Station, table: np.ndarray, window: Window | None) -> None:
    """A station's table, which is in effect from the first frame on, and what it meters of that."""
    for k, word in enumerate(table.reshape(-1).tolist()):
        script.write(station.table + 4 * k, word)
    script.write(station.registers + 4 * APPLY, 0)
    if window is not None:
        rows, columns = window.top | window.bottom << 16, window.left | window.right << 16
        for register, value in ((ROWS, rows), (COLUMNS, columns), (METER, 0)):
            script.write(station.registers + 4 * register, value)


def _read_sums(script: Script, station: Station) -> list[int]:
    """The numbers of the lines that read a station's sums, once they are complete."""
    assert station.sums is not None
    script.poll(station.registers + 4 * METERED, 3, COMPLETE)
    return [script.read(station.sums + 4 * k) for k in range(4 * station.channels)]
