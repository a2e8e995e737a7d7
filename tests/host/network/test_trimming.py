"""Trimmed networks: which pixels of a painting do not depend on the zeros that a network pads with."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.errors import OptionError
from pleinair.models import load_model, styles
from pleinair.network import reference
from pleinair.network.integer import Convolution
from pleinair.network.trimming import check_trimmable, grids, inner, inset_of
from tests.networks import adaptive_network, random_network


@pytest.mark.parametrize("blocks, exit_kernel", [(0, 1), (1, 3), (2, 5)])
def test_the_inset_is_how_far_the_zeros_reach(blocks, exit_kernel):
    """A frame beside the middle of a larger one: where they differ, zeros have reached, and nowhere else."""
    network = adaptive_network(3, width=4, blocks=blocks, exit_kernel=exit_kernel)
    large = np.random.default_rng(1).integers(0, 256, (200, 192, 3), dtype=np.uint8)
    painted, inset = reference.run(network, inner(large, 40)), inset_of(network)
    expected = inner(reference.run(network, large), 40)
    assert np.array_equal(inner(painted, inset), inner(expected, inset))
    assert not np.array_equal(inner(painted, inset - 2), inner(expected, inset - 2))


def test_each_layers_positions_that_zeros_do_not_reach():
    network = adaptive_network(4, width=4, blocks=1)
    large = np.random.default_rng(2).integers(0, 256, (160, 168, 3), dtype=np.uint8)

    def layers(frame: np.ndarray) -> list[np.ndarray]:
        seen: list[np.ndarray] = []

        def through(c: Convolution, x: np.ndarray) -> np.ndarray:
            seen.append(reference.convolve(x, c))
            return reference.requantise(seen[-1], c)

        reference.run_by(network, frame, through)
        return [x.transpose(1, 2, 0) for x in seen]

    assert [grid.inset for grid in grids(network, trimmed=False)] == [0] * 5
    for whole, part, grid in zip(layers(large), layers(inner(large, 40)), grids(network, trimmed=True), strict=True):
        assert grid.scale == 160 // whole.shape[0]
        shown = inner(whole, 40 // grid.scale)
        assert np.array_equal(inner(part, grid.inset), inner(shown, grid.inset))
        assert not np.array_equal(inner(part, grid.inset - 1), inner(shown, grid.inset - 1))


def test_what_cannot_be_trimmed_is_refused():
    check_trimmable(adaptive_network(1, width=2), 64, 64)
    with pytest.raises(OptionError, match="trim cannot be: 40x64 with the margin, allowed") as told:
        check_trimmable(adaptive_network(1, width=2, blocks=2), 64, 40)
    assert f"above {2 * inset_of(adaptive_network(1, width=2, blocks=2))}" in str(told.value)
    with pytest.raises(OptionError, match="trim cannot be: layer down1 has a stride of 2, allowed is 1"):
        check_trimmable(random_network(1, width=4), 64, 64)


@pytest.mark.parametrize("style", sorted(styles()))
def test_every_shipped_adaptive_style_has_a_margin_as_wide_as_its_inset(style):
    model = load_model(style, 8)
    if model.network.adaptive:
        assert inset_of(model.network) <= model.margin
