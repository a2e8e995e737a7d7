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
        "d2f8937537a7a1711bbcf4817050f766766a01652d2346a1845ee69d72117714",
        "89ee1915c600a93e7e40a62571fe2a8266f782156d459c9f91dad86fa164fe89",
    ),
    ("great-wave", 8): (
        "f0e3fe4514ac2e2f76d326bb79d0ce7bfbf98e4962fe71d1b6ac0c0db3ab12f7",
        "0cdb5da7097365522e46be82d2c0e0ce0f8f3c6308187d5923354fe61fb428b3",
    ),
    ("san-giorgio", 4): (
        "508c30d51bba3845cd9773f7c9690a4cbf619ea3ee28bc5583d09a84ddf629a3",
        "644b6f0e465543045c17d674176cf58f7eb6914d42ec3c7d1258892ef52c58fb",
    ),
    ("san-giorgio", 8): (
        "1ac53989ae96d233085fa165535ee662535884db0d5fc3711c7618056e10acf4",
        "03814b79134be6111a0d81836da7f1e2f892f15a291167170822220301bc5486",
    ),
    ("san-giorgio", 16): (
        "5d840179c1b181e3050fece53ca3b7c07e5c0a0d001331e25e7401ef5b0dfaad",
        "a2b6fb4a539a6436bcc12882e53898f0e912939e7d21aa559c245ebd8b934fa3",
    ),
    ("shipwreck", 8): (
        "2321401fbb486de229cb105d57bd317207c1a97e735e93949c52dcf3f80f906b",
        "8ad60644fbcd54b55b4f29a6dc01056aaf429b04fcdf22569edc12da908948c3",
    ),
    ("starry-night", 4): (
        "efe8d6d39db3cf3d5bb67774872494a6086da0e4fe74168bfd73958ff29ac16b",
        "d95fcf2a126d19393ddf87c6364cd5d0c0705e8bdf86b096f9febf7a3d0642ea",
    ),
    ("starry-night", 8): (
        "72718649d1a5c33312deb21333294ba67915895e574dd94d0fc2aeff403ca72f",
        "3846a7fa3f380da31ca317d5e6b422b80e09f9a3d5a52ce745acdb76230fc261",
    ),
    ("starry-night", 16): (
        "d33284701be2e027c557bc74a97d38381903e788a320c61208034517650e2bf1",
        "153dad5329214eed4e84a20358280013c2b6c1d43c5d78f39748eb4b2baa9b6d",
    ),
    ("the-scream", 8): (
        "e5ce49d773a555a92ba8a60686c16faf01f7518a6d18aacb465c62bb7752bdb1",
        "57251cdcac34610656e202959c5978b0302590b00db1a9e4417a9efd23923bdf",
    ),
    ("udnie", 8): (
        "5c3d31d033844ef6e5db2d19c515f4234d8a4fd107f9e898cb9a0b6441b260d8",
        "973b9ddf014103c3a12f8edcda48ae43e0c4cb70c59a9c0f63ede4f3adb9a87f",
    ),
    ("water-lilies", 8): (
        "248c2ceb0305d66468b46dfdfaa627abf0ed8963b765d0dbbbee0e30313e6188",
        "4c99611f47c85d1cd2e20b7633832afb95ee7b664fedf0e770454a3d62cc736f",
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
