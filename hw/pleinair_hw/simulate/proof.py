"""``pleinair simulate``: a photo painted by the simulated accelerator, and proof that it is the reference's painting.

The photo goes the way of every frame: cut and scaled to the build's size, canvas grain, margin; then through
the RTL of ``BUILD/rtl`` cycle by cycle, and back through the crop. An adaptive network paints each photo in its own
light, which the processor meters and the RTL is told. Needs Verilator, not FINN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from pleinair.fpga.build_folder import Build, read_build
from pleinair.network import reference
from pleinair.network.integer import load
from pleinair.network.light import in_light
from pleinair.network.trimming import inner
from pleinair.painting.grain import Grain
from pleinair.painting.meter import measure
from pleinair.painting.tiles import Window, add_margin
from pleinair_hw.build import NETWORK
from pleinair_hw.report.data import Measured, read_report
from pleinair_hw.report.page import write_report
from pleinair_hw.simulate.light import simulate_in_lights
from pleinair_hw.simulate.simulation import Progress, SimulationResult, simulate


@dataclass(frozen=True)
class Proof:
    """What a simulation showed.

    ``paintings``: uint8 [n, H, W, 3] of the build's frame size; ``differing``: bytes of all the accelerator's output,
    margin included, that are not the reference's.
    """

    paintings: np.ndarray
    differing: int
    result: SimulationResult


def fit(photo: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of a photo, uint8 [H, W, 3], scaled to ``width`` x ``height``."""
    scale = max(width / photo.shape[1], height / photo.shape[0])
    shape = (max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale)))
    scaled = cv2.resize(photo, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = (shape[0] - width) // 2, (shape[1] - height) // 2
    middle: np.ndarray = scaled[top : top + height, left : left + width]
    return middle


def prove(
    folder: Path, photos: Sequence[np.ndarray], *, stalls: int = 0, seed: int = 0, progress: Progress | None = None
) -> Proof:
    """Paint ``photos`` (uint8 RGB [H, W, 3], any sizes) back to back with a build's simulated RTL.

    ``stalls``: per cent of cycles in which, at random, no word is offered at the input and none taken at the output.
    The measured figures go into the build's report, unless there were stalls. Raises DeploymentError for a folder that
    is no finished build, SimulationError and DeadlockError.
    """
    made = read_build(folder)
    report = None if stalls else read_report(folder)
    network = load(folder / NETWORK)
    width, height = made.size
    grain = Grain(made.grain)
    frames = [grain(fit(photo, width, height)) for photo in photos]
    inputs = np.stack([add_margin(frame, made.margin, network.stride, adaptive=network.adaptive) for frame in frames])
    if network.adaptive:
        window = Window(made.margin, made.margin, made.margin + height, made.margin + width)
        lights = [measure(network, frame, window) for frame in inputs]
        result = simulate_in_lights(
            folder, network, inputs, lights, stall_in=stalls, stall_out=stalls, seed=seed, progress=progress
        )
        lit = [in_light(network, light) for light in lights]
    else:
        result = simulate(folder, inputs, stall_in=stalls, stall_out=stalls, seed=seed, progress=progress)
        lit = [network] * len(inputs)
    painted = [reference.run(network, frame) for network, frame in zip(lit, inputs, strict=True)]
    expected = np.stack([inner(painting, made.inset) for painting in painted])
    differing = int(np.count_nonzero(result.frames != expected))
    border = made.margin - made.inset
    if report is not None:
        write_report(folder, replace(report, measured=_measured(made, result, differing)))
    return Proof(result.frames[:, border : border + height, border : border + width], differing, result)


def _measured(made: Build, result: SimulationResult, differing: int) -> Measured:
    """What the build's report says of a simulation, beside what was planned."""
    return Measured(
        frames=len(result.frames),
        differing=differing,
        latency=result.latency,
        occupancies=dict(result.occupancies),
        cycles=result.cycles,
        cycles_per_second=round(result.rate),
        interval=result.interval,
        fps=None if result.interval is None else made.clock_mhz * 1e6 / result.interval,
        lanes_busy=result.utilisation,
    )
