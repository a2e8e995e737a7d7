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
        "8aee7bc837b5e46c90b8ccc81677d797aaad4f5621a34602ab880020739631f3",
    ),
    ("great-wave", 8): (
        "efdf8f3a927f8cd4f815516b03d9a096c3d637bcb2d6834c14d698a94344744f",
        "225e4635d52b4bb1c3139ee25aba30c903df84bc403bf36f8406906472695d63",
    ),
    ("san-giorgio", 4): (
        "508c30d51bba3845cd9773f7c9690a4cbf619ea3ee28bc5583d09a84ddf629a3",
        "644b6f0e465543045c17d674176cf58f7eb6914d42ec3c7d1258892ef52c58fb",
    ),
    ("san-giorgio", 8): (
        "7f6bce60cf214d6a5f2325e47a54638b90b2e0bfa8c8e4eba6234152ef0b5ad9",
        "52c54173d10cb31b08220ea186695ed8b7a1ddfb188b9c59c2a5836dfcd49fe3",
    ),
    ("san-giorgio", 16): (
        "5d840179c1b181e3050fece53ca3b7c07e5c0a0d001331e25e7401ef5b0dfaad",
        "a2b6fb4a539a6436bcc12882e53898f0e912939e7d21aa559c245ebd8b934fa3",
    ),
    ("shipwreck", 8): (
        "fb7b11f41d535ce172a11cebec51488040dad13288dd9c8000382c356b203faf",
        "50336bbfe5574d80430ae953d20d62488b8d819656b38af085a0597cb5134b91",
    ),
    ("starry-night", 4): (
        "efe8d6d39db3cf3d5bb67774872494a6086da0e4fe74168bfd73958ff29ac16b",
        "d95fcf2a126d19393ddf87c6364cd5d0c0705e8bdf86b096f9febf7a3d0642ea",
    ),
    ("starry-night", 8): (
        "d6de76f612465fb00547d299ef9873a3e3d493dd3bb9df2540f604b9b3c1f180",
        "8939fa1c124edcb4e97d91685cb169934f784fac48e9c2dfce7e554568cf41bc",
    ),
    ("starry-night", 16): (
        "d33284701be2e027c557bc74a97d38381903e788a320c61208034517650e2bf1",
        "153dad5329214eed4e84a20358280013c2b6c1d43c5d78f39748eb4b2baa9b6d",
    ),
    ("the-scream", 8): (
        "1c05697a63b4f6c1bf12e6a11d3720c23ff17e9fae7679e71625d2cfba635d69",
        "e9427901c0eb5497d9c4ac7ac8f0af868ce30d921c7aea16a042718cb8824e63",
    ),
    ("udnie", 8): (
        "7752250546a6c2646aca166f89bd0a1fd232bb6b48f219538f0f518137ffa767",
        "689e76c0f0a6e22e2ee715b5a9963ef438e211768e04c1221d4aa889a71f4f23",
    ),
    ("water-lilies", 8): (
        "257c9b752ef11bed243b15951fcf047005ec66ac38d5055c372d79db6ae2ddd7",
        "1b0c4df23e31923df9ea214fe54ce3603bc59236fe990ab5d64f9083f1296666",
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
