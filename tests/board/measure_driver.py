"""What the driver itself costs for a frame of 640x480, stage by stage, beside an accelerator that takes no time.

Then what a light costs it, with registers that are plain memory: no bus, so a board's time comes on top.

taskset -c 1 .venv-pynq31/bin/python -W ignore -m tests.board.measure_driver
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pleinair.emulator.board import EmulatedDevice
from pleinair.emulator.stand_in import light_map_of, stand_in
from pleinair.fpga.driver import Accelerator, Stages
from pleinair.fpga.light_map import LightMap
from pleinair.fpga.light_port import APPLY, ARMED, COMPLETE, METER, METERED, STATUS, LightPort, table_of
from pleinair.fpga.light_port import FRAMES as BEGUN
from pleinair.fpga.painter import AcceleratorPainter
from pleinair.models import find_style, load_model
from pleinair.network.integer import IntegerNetwork
from pleinair.network.light import Light, light_of
from pleinair.painting.tiles import Window

FRAMES = 200


class Unchecked(AcceleratorPainter):
    """This accelerator paints nothing."""

    def _check(self) -> None:
        pass


class PlainRegisters:
    """Registers of an accelerator that paints at once: what is written is read, what is armed is taken by ``paint``."""

    def __init__(self, light_map: LightMap) -> None:
        self.words, self.map = np.zeros(light_map.bytes // 4, np.uint32), light_map
        self.words[light_map.id // 4 : light_map.id // 4 + 2] = light_map.hash, 1
        self.accesses = self.moved = 0

    def get(self, offset: int) -> int:
        """See Registers."""
        return int(self.words[offset // 4])

    def read(self, offset: int, count: int) -> np.ndarray:
        """See Registers."""
        self.accesses, self.moved = self.accesses + 1, self.moved + count
        return np.array(self.words[offset // 4 : offset // 4 + count], np.uint32)

    def write(self, offset: int, words: np.ndarray) -> None:
        """See Registers."""
        self.accesses, self.moved = self.accesses + 1, self.moved + words.size
        self.words[offset // 4 : offset // 4 + words.size] = words

    def set(self, offset: int, value: int) -> None:
        """See Registers."""
        self.accesses, self.moved = self.accesses + 1, self.moved + 1
        self.words[offset // 4] = value
        for station in self.map.stations:
            if offset == station.registers + 4 * APPLY:
                self.words[offset // 4 + STATUS - APPLY] = ARMED
            elif offset == station.registers + 4 * METER:
                self.words[offset // 4 + METERED - METER] = 0

    def paint(self) -> None:
        """A frame."""
        for station in self.map.stations:
            at = station.registers // 4
            self.words[at + BEGUN] += 1
            self.words[at + STATUS], self.words[at + METERED] = 0, COMPLETE


def measure_light(style: str, bits: int) -> None:
    """Print milliseconds of writing a whole light, of looking whether a frame was in step, and of metering a layer."""
    network = load_model(style, bits).network
    assert isinstance(network, IntegerNetwork)
    light_map = light_map_of(network, 560, 720)
    assert light_map is not None
    registers = PlainRegisters(light_map)
    port = LightPort.__new__(LightPort)
    port.map, port._registers, port._armed = light_map, registers, [None] * len(light_map.stations)  # type: ignore[assignment]
    average = light_of(network)
    other = Light(average.network, tuple(replace(layer, bias=layer.bias + 1) for layer in average.layers))
    for station, layer in zip(light_map.stations, average.layers, strict=True):
        registers.write(station.table, table_of(layer).reshape(-1))
    port.open(average, 0)
    spent = dict.fromkeys(("a whole light", "the look after a tile", "metering a layer"), 0.0)
    registers.accesses = registers.moved = 0
    for k in range(FRAMES):
        began = time.perf_counter()
        port.show((other, average)[k % 2], k, began + 1)
        spent["a whole light"] += time.perf_counter() - began
        once = registers.accesses, registers.moved
        registers.accesses = registers.moved = 0
        registers.paint()
        began = time.perf_counter()
        port.check(k)
        spent["the look after a tile"] += time.perf_counter() - began
        began = time.perf_counter()
        port.meter(0, k + 1, Window(0, 0, 140, 180))
        registers.words[light_map.stations[0].registers // 4 + METERED] = COMPLETE
        port.sums(0, Window(0, 0, 140, 180))
        spent["metering a layer"] += time.perf_counter() - began
        registers.accesses = registers.moved = 0
    channels = sum(station.channels for station in light_map.stations)
    print(f"{style} at {bits} bits, {len(light_map.stations)} stations, {channels} channels: {once[1]} words a light,")
    print(f"  in {once[0]} runs; " + ", ".join(f"{what} {1e3 * s / FRAMES:.3f} ms" for what, s in spent.items()))


def main() -> None:
    """Print milliseconds a frame, three times, for films and for frames one by one."""
    cv2.setNumThreads(1)
    model = load_model("starry-night-board", 8)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(4)]
    with tempfile.TemporaryDirectory() as name:
        size = {"height": 480 + 2 * model.margin, "width": 640 + 2 * model.margin}
        deployment = stand_in(
            Path(name) / "deploy", find_style("starry-night-board"), 8, board="zcu104", clock_mhz=300, **size
        )
        painter = Unchecked(model, Accelerator(deployment, EmulatedDevice(deployment, lambda data: data)))
        for way in ("film", "one by one") * 3:
            painter.accelerator.stages = stages = Stages()
            began = time.perf_counter()
            if way == "film":
                for _ in painter.paint_each(frames[k % 4] for k in range(FRAMES)):
                    pass
            else:
                for k in range(FRAMES):
                    painter.paint(frames[k % 4])
            whole = 1e3 * (time.perf_counter() - began) / FRAMES
            spent = {n: 1e3 * getattr(stages, n) / FRAMES for n in ("prepare", "dma", "collect", "wait")}
            own = whole - spent["wait"]
            divided = ", ".join(f"{n} {ms:.2f}" for n, ms in spent.items())
            print(f"{way}: {divided}; all but the wait {own:.2f} ms a frame")
        painter.close()
    for _ in range(3):
        measure_light("starry-night", 8)


if __name__ == "__main__":
    main()
