"""Adaptive networks in Verilator: frames in lights of their own, and light that the hardware meters itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pleinair.models import Model, load_model
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork, Residual
from pleinair.network.light import Light, in_light, light_of
from pleinair.network.trimming import inset_of
from pleinair.painting import meter
from pleinair.painting.tiles import Window, add_margin, padded_size
from pleinair_hw.plan.boards import find_board
from pleinair_hw.plan.dataflow import Form
from pleinair_hw.plan.plan import PLAIN, BuildOptions, Plan
from pleinair_hw.plan.search import plan_for_cycles, plan_with_folding
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


def lit(
    network: IntegerNetwork,
    folder: Path,
    frames: np.ndarray,
    window: Window,
    cycles: int,
    optimise: int,
    plan: Plan | None = None,
) -> Lit:
    """The network's accelerator of ``cycles`` a frame, or that of ``plan``, and each frame's own light."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.stitch.write import write_rtl

    plan = plan or plan_for_cycles(network, *frames.shape[1:3], find_board("zcu104"), cycles)
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


@pytest.mark.parametrize(("form", "bits"), [("centred", 8), ("taps", 4), ("direct", 16)])
def test_trimmed_networks_in_three_lights_and_their_own_metering(form, bits, tmp_path):
    """Two blocks without padding, with and without stalls; sums are those of the contract's very positions."""
    rng = np.random.default_rng(bits)
    frames = rng.integers(0, 256, (3, 72, 64, 3), dtype=np.uint8)
    frames[1] //= 5
    frames[2] = frames[2] // 16 + 60
    network = adaptive_network(bits, width=2, blocks=2, bits=bits)
    heads = [layer.body[0].name for layer in network.layers if isinstance(layer, Residual)]
    forms: dict[str, Form] = {name: form for name in heads} | {"up1": "direct" if bits == 16 else "phases"}
    window, inset = Window(25, 24, 47, 41), inset_of(network)
    assert inset <= 24
    plan = plan_for_cycles(
        network, 72, 64, find_board("zcu104"), 12_000, forms=forms, options=BuildOptions(trimmed=True)
    )
    made = lit(network, tmp_path, frames, window, 12_000, QUICK, plan)
    expected = made.expected[:, inset : 72 - inset, inset : 64 - inset]
    for stalls in (0, 30):
        result = simulate_in_lights(
            tmp_path, network, frames, made.lights, stall_in=stalls, stall_out=stalls, seed=stalls, optimise=QUICK
        )
        assert int(np.count_nonzero(result.frames != expected)) == 0
    light, sums = measure(tmp_path, network, frames[1], window, optimise=QUICK)
    assert sums == meter.sums(network, frames[1], window)
    assert light == made.lights[1]


def dusk(model: Model, seed: int) -> tuple[np.ndarray, Window]:
    """Three frames of 64x64 with their margin, of different brightness, and the window that they fill."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(20, 235, 64)
    noise = [rng.normal(0, 12, (64, 64, 3)) for _ in range(3)]
    frames = np.stack([np.clip(ramp[:, None] * f + n, 0, 255) for f, n in zip((1, 0.4, 0.8), noise, strict=True)])
    pixels = np.stack(
        [add_margin(frame.astype(np.uint8), model.margin, model.network.stride, adaptive=True) for frame in frames]
    )
    return pixels, Window(model.margin, model.margin, model.margin + 64, model.margin + 64)


@pytest.mark.rtl
@pytest.mark.parametrize(("trimmed", "cycles", "most"), [(False, 640_000, 1.015), (True, 590_000, 1.03)])
def test_a_tile_of_the_pynq_z2s_size_keeps_its_rate(trimmed, cycles, most, tmp_path):
    """A thin network of the shipped ones' shape, at 384x544, whose layers are nearly all as slow as allowed."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.stitch.write import write_rtl

    network = adaptive_network(5, width=2, blocks=3)
    options = BuildOptions(trimmed=trimmed)
    plan = plan_for_cycles(network, 544, 384, find_board("pynq-z2"), cycles, options=options)
    frames = np.random.default_rng(1).integers(0, 256, (4, 544, 384, 3), dtype=np.uint8)
    inset = plan.dataflow.inset
    write_rtl(compile_plan(plan, tmp_path / "finn"), tmp_path / "rtl")
    result = simulate(tmp_path, frames, optimise=QUICK)
    held = np.stack([reference.run(network, frame)[inset : 544 - inset, inset : 384 - inset] for frame in frames])
    print(trimmed, plan.cycles, result.interval, result.interval / plan.cycles)
    assert np.array_equal(result.frames, held)
    assert result.interval <= most * plan.cycles


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("size", "cycles", "options"),
    [((640, 480), 18_435_072, PLAIN), ((320, 480), 4_764_672, BuildOptions(pumped=True, trimmed=True))],
    ids=["whole", "two tiles, pumped, trimmed"],
)
def test_the_pynq_z2s_accelerator_in_three_lights(size, cycles, options, tmp_path):
    """The Starry Night at 8 bits: forms, folding and memories of the Pynq-Z2's plans, for frames of 64x64."""
    model, board = load_model("starry-night", 8), find_board("pynq-z2")
    tall, wide = padded_size(size[1], size[0], model.margin, model.network.stride)
    large = plan_for_cycles(model.network, tall, wide, board, cycles, options=options)
    assert large.cycles <= cycles and not large.over
    assert ("centred" in large.forms.values()) == (options == PLAIN)
    pixels, window = dusk(model, 1)
    plan = plan_with_folding(model.network, 128, 128, board, large.folding, large.forms, options=options)
    made, inset = lit(model.network, tmp_path, pixels, window, 0, 2, plan), plan.dataflow.inset
    for stalls in (0, 20):
        result = simulate_in_lights(
            tmp_path, model.network, pixels, made.lights, stall_in=stalls, stall_out=stalls, seed=stalls
        )
        print(options, stalls, result.cycles, result.seconds, result.build_seconds, result.interval, plan.cycles)
        assert int(np.count_nonzero(result.frames != made.expected[:, inset : 128 - inset, inset : 128 - inset])) == 0
    light, sums = measure(tmp_path, model.network, pixels[1], window)
    assert sums == meter.sums(model.network, pixels[1], window)
    assert light == made.lights[1]


@pytest.mark.rtl
@pytest.mark.parametrize(("style", "bits"), [("starry-night", 8), ("starry-night", 4)])
def test_a_shipped_style_in_three_lights_and_its_own_metering(style, bits, tmp_path):
    """At 64x64 with its margin: three frames in three lights, stalls or not, and a light that the hardware meters."""
    model = load_model(style, bits)
    pixels, window = dusk(model, bits)
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
