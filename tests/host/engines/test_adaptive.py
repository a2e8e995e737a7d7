"""Adaptive networks of the second generation's shape in every engine: equal to the reference, in any light."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.engines.exact import EngineRunner, installed_engines, variants, worst_case
from pleinair.network import reference
from pleinair.network.integer import validate
from pleinair.network.light import in_light
from pleinair.network.onnx import build_onnx
from pleinair.painting.meter import measure
from pleinair.painting.tiles import Window
from tests.networks import adaptive_network

CASES = [(bits, engine) for bits in (4, 8, 16) for engine in installed_engines(bits > 8)]


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Noise whose brightness and contrast depend on the seed, so that lights differ."""
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.integers(0, 256, 2))
    return rng.integers(low, high + 1, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(("bits", "engine"), CASES)
@pytest.mark.parametrize("kernel", [3, 5])
def test_engines_equal_the_reference_in_three_lights(bits, engine, kernel):
    network = adaptive_network(bits + kernel, blocks=2, bits=bits, exit_kernel=kernel)
    lights = set()
    for seed in (1, 2, 3):
        image = picture(seed, 48, 64)
        light = measure(network, image, Window(0, 0, 48, 64))
        lights.add(light)
        lit = in_light(network, light)
        wanted = reference.run(lit, image)
        for variant in variants(engine, 1):
            got = EngineRunner(lit, variant)(image)
            assert np.array_equal(got, wanted), f"{variant.name}, seed {seed}: {(got != wanted).sum()} values differ"
    assert len(lights) == 3


@pytest.mark.parametrize(("bits", "engine"), CASES)
def test_windows_equal_the_whole(bits, engine):
    network = adaptive_network(bits, blocks=1, bits=bits)
    image = picture(7, 96, 80)
    wanted = reference.run(network, image)
    runner = EngineRunner(network, next(iter(variants(engine, 1))))
    rng = np.random.default_rng(bits)
    for _ in range(6):
        top, left = int(rng.integers(0, 90)), int(rng.integers(0, 74))
        bottom, right = int(rng.integers(top + 1, 97)), int(rng.integers(left + 1, 81))
        window = Window(top, left, bottom, right)
        assert np.array_equal(runner.window(image, window), window.of(wanted)), f"{engine}: {window}"


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_the_worst_case_keeps_the_contract_and_is_lively(bits):
    hardest = validate(worst_case(adaptive_network(bits, bits=bits)))
    painted = reference.run(hardest, picture(1, 64, 64))
    assert painted.std() > 30 and all(int(c.gain.max()) == 31 for c in hardest.convolutions() if c.norm is not None)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_graph_for_other_programs_equals_the_reference(bits):
    import onnxruntime

    network = adaptive_network(bits, bits=bits)
    image = picture(4, 64, 96)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(build_onnx(network), options, providers=["CPUExecutionProvider"])
    (painted,) = session.run(None, {"x": image[None]})
    assert np.array_equal(painted[0], reference.run(network, image))


def test_a_multiplier_off_by_one_shows():
    """The comparison can fail: one channel's multiplier changed by one in one layer changes the painting."""
    from dataclasses import replace

    from pleinair.network.light import light_of

    network = adaptive_network(2)
    image = picture(2, 48, 48)
    light = light_of(network)
    for number, layer in enumerate(light.layers):
        changed = layer.multiplier.copy()
        changed[0] += 1 if changed[0] < 31 else -1
        other = replace(
            light, layers=(*light.layers[:number], replace(layer, multiplier=changed), *light.layers[number + 1 :])
        )
        assert not np.array_equal(reference.run(in_light(network, other), image), reference.run(network, image)), (
            layer.name
        )
