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
    ("composition-vii", 8): (
        "e57f554838a2582eba7b205eea5acf836a4d228ed7602b3e85de3c0af49ce4f5",
        "81143f3e4bc41d7a1789d243e560059119451faff62254baecf18da0f7272db2",
    ),
    ("great-wave", 8): (
        "efdf8f3a927f8cd4f815516b03d9a096c3d637bcb2d6834c14d698a94344744f",
        "2e5f901226c99bfd7704ed22ea9c07f4315802ea50e516fc8cd5f59b69f01114",
    ),
    ("san-giorgio", 4): (
        "508c30d51bba3845cd9773f7c9690a4cbf619ea3ee28bc5583d09a84ddf629a3",
        "ed15816b76e0c9eabcdc9ee626bc59a0c19780c39e0f6b85a28f449394e0fdfd",
    ),
    ("san-giorgio", 8): (
        "7f6bce60cf214d6a5f2325e47a54638b90b2e0bfa8c8e4eba6234152ef0b5ad9",
        "182aff7dbaf5a8c4aa5c4ff547c950f817e27d41361bfbbc89ced3f54c4b39f1",
    ),
    ("san-giorgio", 16): (
        "5d840179c1b181e3050fece53ca3b7c07e5c0a0d001331e25e7401ef5b0dfaad",
        "96b09230b9579989175490b39ba6a19ebb3f09cb7a7820e977536d3c3b244f17",
    ),
    ("shipwreck", 8): (
        "fb7b11f41d535ce172a11cebec51488040dad13288dd9c8000382c356b203faf",
        "0ceb94c57854c644de1488ff6175e3f68058010c612e8159c12d07268d928178",
    ),
    ("starry-night", 4): (
        "efe8d6d39db3cf3d5bb67774872494a6086da0e4fe74168bfd73958ff29ac16b",
        "5e389462e6dd55f33c9644989a54ea6a905dd1c0cf313c4d3a325fd25d941f79",
    ),
    ("starry-night", 8): (
        "d6de76f612465fb00547d299ef9873a3e3d493dd3bb9df2540f604b9b3c1f180",
        "b1ff457c0b59269a28e2e13be1d7fca507814ccfdf00764bbd61c34a609b0945",
    ),
    ("starry-night", 16): (
        "d33284701be2e027c557bc74a97d38381903e788a320c61208034517650e2bf1",
        "c4a20c71c65bfd52dc471385e16998b62d34b4b7e7fa2423be3b8d514a47cce3",
    ),
    ("the-scream", 8): (
        "1c05697a63b4f6c1bf12e6a11d3720c23ff17e9fae7679e71625d2cfba635d69",
        "834d4d8a0cf87874682096107e530a1dd8a51dae44ee98f77ab1695deeb85dac",
    ),
    ("udnie", 8): (
        "7752250546a6c2646aca166f89bd0a1fd232bb6b48f219538f0f518137ffa767",
        "64bb6ae1a206486f0b095c4d11018c661a6141e27ad0c9bc30e3ca3b0e25b62f",
    ),
    ("water-lilies", 8): (
        "257c9b752ef11bed243b15951fcf047005ec66ac38d5055c372d79db6ae2ddd7",
        "86d7d5ed1ac777338661b6d8e830d5c615864bb8d4eccca60ec3e74fe225141a",
    ),
}
ADAPTIVE = [
    (name, bits)
    for name, folder in styles().items()
    for bits, entry in read_card(folder).networks.items()
    if entry.adaptive and bits <= 16
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
    pixels = add_margin(Grain(model.grain)(image), model.margin, model.network.stride, adaptive=True)
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
