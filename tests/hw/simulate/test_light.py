"""Adaptive networks in Verilator: frames in lights of their own, and light that the hardware meters itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork
from pleinair.network.light import Light, in_light, light_of
from pleinair.painting import meter
from pleinair.painting.tiles import Window, add_margin
from pleinair_hw.simulate.light import light_map, measure, simulate_in_lights, write_table
from pleinair_hw.simulate.script import OKAY, Script
from pleinair_hw.simulate.simulation import SimulationError, load, simulate
from tests.hw.simulate.test_simulation import QUICK, small_network
from tests.hw.streams import needs_verilator
from tests.networks import adaptive_network

pytestmark = [
    needs_verilator,
    pytest.mark.skipif(find_spec("finn") is None, reason="finn-plus is not installed"),
]


@dataclass(frozen=True)
class Lit:
    """An adaptive network's RTL in ``folder``; frames of its size, the window of them that counts, each one's light."""

    network: IntegerNetwork
    folder: Path
    frames: np.ndarray
    window: Window
    lights: tuple[Light, ...]
    optimise: int

    @property
    def expected(self) -> np.ndarray:
        pairs = zip(self.frames, self.lights, strict=True)
        return np.stack([reference.run(in_light(self.network, light), frame) for frame, light in pairs])


def lit(network: IntegerNetwork, folder: Path, frames: np.ndarray, window: Window, cycles: int, optimise: int) -> Lit:
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.search import plan_for_cycles
    from pleinair_hw.stitch.write import write_rtl

    plan = plan_for_cycles(network, *frames.shape[1:3], find_board("zcu104"), cycles)
    write_rtl(compile_plan(plan, folder / "finn"), folder / "rtl")
    lights = tuple(meter.measure(network, frame, window) for frame in frames)
    return Lit(network, folder, frames, window, lights, optimise)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Lit:
    """A random network of 8 bits at 16x24; noise, a dark and a flat frame."""
    rng = np.random.default_rng(8)
    frames = rng.integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
    frames[1] //= 7
    frames[2] = frames[2] // 32 + 90
    network = adaptive_network(3, width=2, blocks=1)
    return lit(network, tmp_path_factory.mktemp("tiny"), frames, Window(3, 5, 13, 22), 2500, QUICK)


def test_three_frames_in_three_lights_back_to_back(tiny):
    assert len(set(tiny.lights)) == 3
    for stalls, seed in ((0, 1), (30, 2)):
        result = simulate_in_lights(
            tiny.folder,
            tiny.network,
            tiny.frames,
            tiny.lights,
            stall_in=stalls,
            stall_out=stalls,
            seed=seed,
            optimise=tiny.optimise,
        )
        assert int(np.count_nonzero(result.frames != tiny.expected)) == 0


def test_after_a_reset_it_paints_in_the_light_that_the_network_holds(tiny):
    result = simulate(tiny.folder, tiny.frames[:2], optimise=tiny.optimise)
    held = np.stack([reference.run(tiny.network, frame) for frame in tiny.frames[:2]])
    assert np.array_equal(result.frames, held)


def test_a_write_in_the_middle_of_a_frame_changes_nothing_in_it(tiny):
    """All tables are written, and armed for the next frame, when half of a frame is in."""
    accelerator = load(tiny.folder)
    registers, words = light_map(accelerator, tiny.network), accelerator.manifest.inputs[0].words
    script = Script()
    script.allow(words // 2)
    script.wait_input(words // 2)
    script.poll(registers.stations[0].registers, 0xFFFFFFFF, 1)
    for station, layer in zip(registers.stations, tiny.lights[1].layers, strict=True):
        write_table(script, station, layer)
        script.write(station.registers + 4, 1)
    script.allow(2 * words)
    result = simulate(accelerator, tiny.frames[:2], script=script, optimise=tiny.optimise)
    assert all(reply.response == OKAY for reply in result.replies)
    assert np.array_equal(result.frames, replace(tiny, lights=(light_of(tiny.network), *tiny.lights[1:])).expected[:2])


def test_its_own_metering_is_the_contracts(tiny):
    light, sums = measure(tiny.folder, tiny.network, tiny.frames[1], tiny.window, optimise=tiny.optimise)
    assert sums == meter.sums(tiny.network, tiny.frames[1], tiny.window)
    assert light == tiny.lights[1]


def test_an_accelerator_of_another_network_is_refused(tiny):
    other = adaptive_network(4, width=2, blocks=1)
    with pytest.raises(SimulationError, match="light of this network"):
        simulate_in_lights(tiny.folder, other, tiny.frames, tiny.lights)
    with pytest.raises(SimulationError, match="light of this network"):
        measure(tiny.folder, small_network(1), tiny.frames[0], tiny.window)


@pytest.mark.rtl
@pytest.mark.parametrize(("style", "bits"), [("starry-night", 8), ("starry-night", 4)])
def test_a_shipped_style_in_three_lights_and_its_own_metering(style, bits, tmp_path):
    """At 64x64 with its margin: three frames in three lights, stalls or not, and a light that the hardware meters."""
    model = load_model(style, bits)
    rng = np.random.default_rng(bits)
    ramp = np.linspace(20, 235, 64)
    noise = [rng.normal(0, 12, (64, 64, 3)) for _ in range(3)]
    frames = np.stack([np.clip(ramp[:, None] * f + n, 0, 255) for f, n in zip((1, 0.4, 0.8), noise, strict=True)])
    pixels = np.stack(
        [add_margin(frame.astype(np.uint8), model.margin, model.network.stride, adaptive=True) for frame in frames]
    )
    window = Window(model.margin, model.margin, model.margin + 64, model.margin + 64)
    shipped = lit(model.network, tmp_path, pixels, window, 150_000, 2)
    for stalls in (0, 20):
        result = simulate_in_lights(
            tmp_path, model.network, pixels, shipped.lights, stall_in=stalls, stall_out=stalls, seed=stalls
        )
        print(style, bits, stalls, result.cycles, result.seconds, result.build_seconds, result.interval)
        assert int(np.count_nonzero(result.frames != shipped.expected)) == 0
    light, sums = measure(tmp_path, model.network, pixels[1], window)
    assert sums == meter.sums(model.network, pixels[1], window)
    assert light == shipped.lights[1]


@pytest.mark.rtl
@pytest.mark.parametrize("bits", [4, 16])
def test_random_networks_of_other_widths(bits, tmp_path):
    """Every block at widths other than 8 bits."""
    rng = np.random.default_rng(bits)
    frames = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    frames[1] //= 5
    frames[2] = frames[2] // 16 + 60
    network = adaptive_network(bits, width=2, blocks=1, bits=bits)
    made = lit(network, tmp_path, frames, Window(5, 4, 28, 27), 6000, QUICK)
    for stalls in (0, 30):
        result = simulate_in_lights(
            tmp_path, network, frames, made.lights, stall_in=stalls, stall_out=stalls, seed=stalls, optimise=QUICK
        )
        assert int(np.count_nonzero(result.frames != made.expected)) == 0
    light, sums = measure(tmp_path, network, frames[1], made.window, optimise=QUICK)
    assert sums == meter.sums(network, frames[1], made.window)
    assert light == made.lights[1]
