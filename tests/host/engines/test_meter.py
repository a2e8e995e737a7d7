"""Metering on an engine equals the plain one, number for number."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pleinair.engines import meter as module
from pleinair.engines.exact import EngineRunner, check_image, installed_engines, variants, worst_case
from pleinair.engines.meter import EngineMeter, exact_meter, join, sums_of_rows
from pleinair.engines.onnxruntime import OrtEngine
from pleinair.errors import LightError
from pleinair.network import reference
from pleinair.network.integer import validate
from pleinair.network.light import in_light, light_of, sums_of
from pleinair.painting import meter
from pleinair.painting.tiles import Window
from tests.host.engines.test_adaptive import CASES, picture
from tests.networks import adaptive_network


@pytest.mark.parametrize(("bits", "engine"), CASES)
def test_engines_meter_what_the_reference_meters(bits, engine, monkeypatch):
    monkeypatch.setattr(module, "_BAND", 200)  # many bands, uneven ones at the end
    network = adaptive_network(bits, blocks=2, bits=bits)
    rng = np.random.default_rng(bits)
    for seed in range(3):
        pixels = picture(seed, 56, 72)
        top, left = (int(v) for v in rng.integers(0, 20, 2))
        frame = Window(top, left, top + int(rng.integers(16, 36)), left + int(rng.integers(16, 50)))
        plain = meter.sums(network, pixels, frame)
        for variant in variants(engine, 1):
            fast = EngineMeter(network, variant)
            assert fast.sums(pixels, frame) == plain, f"{variant.name} {frame}"
            light = meter.measure(network, pixels, frame)
            assert fast.measure(pixels, frame) == light
            if bits <= 8:
                painted = frame.of(reference.run(in_light(network, light), pixels))
                assert np.array_equal(fast.paint(pixels, frame), painted), f"{variant.name} {frame}"


@pytest.mark.parametrize("engine", installed_engines())
@pytest.mark.parametrize("threads", [1, 2])
def test_one_meter_paints_frames_of_all_lights_and_sizes(engine, threads):
    """Sizes that come again, lights that jump, margins that are missing: nothing of a frame is left over."""
    network = adaptive_network(3, blocks=2)
    fast = EngineMeter(network, next(iter(variants(engine, threads))))
    frames = [
        (picture(seed, height, width), Window(top, left, height - 3, width - 5))
        for seed, (height, width, top, left) in enumerate(
            [(48, 64, 8, 8), (64, 48, 0, 0), (48, 64, 8, 8), (48, 64, 9, 7), (80, 96, 24, 16), (64, 48, 0, 0)]
        )
    ]
    lights = set()
    for pixels, frame in frames + frames[::-1]:
        painted, light = fast.paint_and_measure(pixels, frame)
        assert light == meter.measure(network, pixels, frame)
        assert np.array_equal(painted, meter.paint(network, pixels, frame)), f"{frame}"
        lights.add(light)
    assert len(lights) == len(frames)


@pytest.mark.parametrize(("bits", "engine"), CASES)
@pytest.mark.parametrize("threads", [1, 2])
def test_lights_that_change_paint_as_the_network_in_each_of_them(bits, engine, threads):
    """In turns, in two sizes, and several at a time: a runner of one light takes nothing from another's."""
    network = adaptive_network(bits, blocks=1, bits=bits)
    fast = EngineMeter(network, next(iter(variants(engine, threads))))
    image, window = picture(3, 48, 64), Window(8, 9, 41, 50)
    lights = [meter.measure(network, picture(seed, 48, 64), window) for seed in range(4)]
    wanted = [reference.run(in_light(network, light), image) for light in lights]
    assert len({w.tobytes() for w in wanted}) == len(lights)
    runners = [fast.lit(light) for light in lights]
    tasks = [(k, part) for _ in range(2) for k in range(len(lights)) for part in (window, Window(0, 0, 48, 64))]
    with ThreadPoolExecutor(3) as pool:
        painted = list(pool.map(lambda task: runners[task[0]].window(image, task[1]), tasks))
    for (k, part), painting in zip(tasks, painted, strict=True):
        assert np.array_equal(painting, part.of(wanted[k])), f"light {k}, {part}"
    again = fast.lit(lights[0]).window(image, window)
    assert np.array_equal(again, window.of(wanted[0]))


def test_a_light_of_another_network_is_refused():
    fast = EngineMeter(adaptive_network(1), next(iter(variants("onnxruntime", 1))))
    with pytest.raises(LightError, match="another network"):
        fast.lit(light_of(adaptive_network(2)))


def test_bands_that_overlap_do_not_disturb_each_other():
    """Blocks of an odd number of rows on many threads: the last two bands share rows."""
    network = adaptive_network(11, blocks=3, bits=4)
    pixels, frame = picture(1, 84, 64), Window(9, 8, 70, 56)
    wanted = meter.paint(network, pixels, frame)
    for threads in (2, 3, 5):
        fast = EngineMeter(network, next(iter(variants("onnxruntime", threads))))
        for _ in range(30):
            assert np.array_equal(fast.paint(pixels, frame), wanted), f"{threads} threads"


def test_threads_that_paint_at_once_do_not_disturb_each_other():
    network = adaptive_network(5)
    fast = EngineMeter(network, next(iter(variants("onnxruntime", 1))))
    frame = Window(8, 8, 40, 56)
    pictures = [picture(seed, 48, 64) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        painted = list(pool.map(lambda pixels: fast.paint(pixels, frame), pictures))
    for pixels, painting in zip(pictures, painted, strict=True):
        assert np.array_equal(painting, meter.paint(network, pixels, frame))


@pytest.mark.parametrize("engine", installed_engines())
def test_the_worst_integers_are_metered_exactly(engine):
    """Here sums of pairs saturate in kernels that are not exact, so a meter that took them would differ."""
    network = validate(worst_case(adaptive_network(7, blocks=2)))
    pixels, frame = check_image(64), Window(8, 8, 58, 55)
    wanted = meter.paint(network, pixels, frame)
    found = [np.array_equal(EngineMeter(network, v).paint(pixels, frame), wanted) for v in variants(engine, 1)]
    assert any(found)


class _Off(OrtEngine):
    """ONNX Runtime, one too much in whatever it computes in a light."""

    def relightable(self, program, changing, *, alone):
        relit = super().relightable(program, changing, alone=alone)

        def lit(program):
            run = relit(program)

            def off(pixels, painted):
                run(pixels, painted)
                painted += 1

            return off

        return lit


@pytest.mark.parametrize("engine", installed_engines())
def test_single_convolutions_are_computed_by_onnx_runtime_where_that_is_exact(engine, monkeypatch):
    network = adaptive_network(7, blocks=1)
    run = EngineRunner(network, next(iter(variants(engine, 1))))
    made: list[tuple[str, str]] = []
    begin = EngineMeter.__init__

    def noted(self, network, engine, staging=None):
        made.append((type(engine).__name__, type(staging).__name__))
        begin(self, network, engine, staging)

    monkeypatch.setattr(EngineMeter, "__init__", noted)
    assert exact_meter(network, run, 1).engine is run.engine
    assert set(made) == {(type(run.engine).__name__, "OrtEngine")}

    real = variants
    off = [_Off(1)]
    monkeypatch.setattr(module, "variants", lambda name, threads: iter([*off, *real(name, threads)]))
    pixels, frame = check_image(64), Window(8, 8, 58, 55)
    wanted = meter.paint(network, pixels, frame)
    made.clear()
    assert np.array_equal(exact_meter(network, run, 1).paint(pixels, frame), wanted)
    if engine != "onnxruntime":
        assert made[0] == (type(run.engine).__name__, "_Off")
        assert made[-1][1] == "OrtEngine"


@pytest.mark.parametrize("channels", [1, 2, 3, 16, 48, 64, 80])
@pytest.mark.parametrize("count", [1, 7, 300, 70_001])
def test_sums_of_bytes_are_exact_where_float32_would_not_be(count, channels):
    for levels in (
        np.full((count, channels), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (count, channels), dtype=np.uint8),
    ):
        wanted = sums_of(levels.T[..., None])
        first, second = sums_of_rows(levels)
        assert (tuple(first.tolist()), tuple(second.tolist())) == (wanted.first, wanted.second)


@pytest.mark.parametrize("most", [15, 255])
def test_a_branch_is_added_as_integers(most):
    trunk, branch = np.meshgrid(np.arange(most + 1), np.arange(-128, 128))
    wanted = np.clip(trunk + branch, 0, most)
    into = np.empty((*wanted.shape, 1), np.uint8)
    join(trunk.astype(np.uint8)[..., None], (branch + 128).astype(np.uint8)[..., None], most, into)
    assert np.array_equal(into[..., 0], wanted)


def test_positions_count_where_they_share_a_pixel_with_the_frame():
    window = meter.Meter(Window(5, 8, 21, 16)).window(4)
    assert (window.top, window.left, window.bottom, window.right) == (1, 2, 6, 4)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_of_one_colour_is_metered(level):
    """A covered lens, a blown-out sky: no division by zero, and a painting."""
    network = adaptive_network(4)
    pixels = np.full((48, 48, 3), level, np.uint8)
    lit = in_light(network, meter.measure(network, pixels, Window(0, 0, 48, 48)))
    assert reference.run(lit, pixels).shape == (48, 48, 3)
