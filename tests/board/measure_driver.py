"""What the driver itself costs for a frame of 640x480, stage by stage, beside an accelerator that takes no time.

taskset -c 1 .venv-pynq31/bin/python -W ignore -m tests.board.measure_driver
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from pleinair.emulator.board import EmulatedDevice
from pleinair.emulator.stand_in import stand_in
from pleinair.fpga.driver import Accelerator, Stages
from pleinair.fpga.painter import AcceleratorPainter
from pleinair.models import find_style, load_model

FRAMES = 200


class Unchecked(AcceleratorPainter):
    """This accelerator paints nothing."""

    def _check(self) -> None:
        pass


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


if __name__ == "__main__":
    main()
