"""The light of one frame, number for number the same on every machine: digests that were measured once."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.engines.exact import installed_engines, variants
from pleinair.engines.meter import EngineMeter
from pleinair.models import load_model, read_card, styles
from pleinair.network.light import Light, in_light, light_of
from pleinair.painting.grain import Grain
from pleinair.painting.meter import measure
from pleinair.painting.tiles import Window, add_margin

#: The adaptive networks that are shipped: the SHA-256 of the file, and the digest of the frame's light in it. A network
#: that is trained anew gets new ones. A digest that changes without its file is a bug: the light is no longer the same
#: on every machine, and films that were begun before it change in the middle.
DIGESTS = {
    ("great-wave", 8): (
        "5ad6b2b92cfc7106754fd53b7649cfce3e48e3bd95ba58c2b6f95d80af77d1f8",
        "8544f280f3488eb310930dc30d0ef4dbb0a561d1203ef48280af176470f98a32",
    ),
    ("san-giorgio", 8): (
        "469692fbe31742711ac1f2132ba80245d3604a8474454b82570f9c153d2b6d38",
        "16b2145ba1a9ba2818b72e8c7a15a17b5c7721173a09bb3e832c92a940b7b6b8",
    ),
    ("starry-night", 8): (
        "679ced44d7fe844d64af553f8f1bd852d2ccdd8844cc264c130a78b836e4ce8a",
        "ef1e4d0b2807bc549c7ed9f245d2709a983b6f8a8744ccb1dad0aa9234a2a670",
    ),
    ("water-lilies", 8): (
        "64ddd7e96929e0433d1696e1ce3fb5b5be7fc1bc8514ac4f1b59cd80ad6e4cff",
        "54ccef48ee3d9566811d118fc3e7e17febe83c0df320fe76fbf57f366afe262f",
    ),
}
ADAPTIVE = [
    (name, bits)
    for name, folder in styles().items()
    for bits, entry in read_card(folder).networks.items()
    if entry.adaptive
]


def frame() -> np.ndarray:
    """Slanted waves of three periods and a rough dark corner, uint8 [74, 101, 3], from integers alone."""
    y, x, c = np.ogrid[:74, :101, :3]
    waves = np.abs((x * 5 * (c + 1) + y * 3 + 80 * c) % 510 - 255)
    rough = ((x * 73_856_093 ^ y * 19_349_663 ^ c * 83_492_791) >> 7) % 61
    values = np.where((x < 40) & (y > 30), rough // 2, waves * 3 // 4 + rough * (x % 64) // 64)
    return np.clip(values, 0, 255).astype(np.uint8)


def given(style: str, bits: int) -> tuple[np.ndarray, Window]:
    """What the network is given of the frame, and the window that the frame fills."""
    model = load_model(style, bits)
    image = frame()
    pixels = add_margin(Grain(model.grain)(image), model.margin, model.network.stride)
    height, width = image.shape[:2]
    return pixels, Window(model.margin, model.margin, model.margin + height, model.margin + width)


@pytest.fixture(scope="module", params=ADAPTIVE, ids=lambda case: f"{case[0]}-{case[1]}")
def measured(request) -> tuple[str, int, Light]:
    """A shipped network and the frame's light in it, by NumPy."""
    style, bits = request.param
    return style, bits, measure(load_model(style, bits).network, *given(style, bits))


def test_the_light_is_the_same_on_every_machine(measured):
    style, bits, light = measured
    found = load_model(style, bits).sha256, light.digest()
    assert DIGESTS.get((style, bits)) == found, f"{style} at {bits} bits has no such digest yet, or another light"
    assert light != light_of(load_model(style, bits).network)


def test_every_engine_measures_that_light(measured):
    style, bits, light = measured
    network = load_model(style, bits).network
    for engine in installed_engines(network.wide):
        for variant in variants(engine, 2):
            assert EngineMeter(network, variant).measure(*given(style, bits)) == light, variant.name


def test_one_number_of_a_light_changes_its_digest(measured):
    style, bits, light = measured
    network = in_light(load_model(style, bits).network, light)
    assert light_of(network).digest() == light.digest()
    light.layers[-1].bias[-1] += 1
    changed = light.digest()
    light.layers[-1].bias[-1] -= 1
    assert changed != light.digest()
