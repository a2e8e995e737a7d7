"""A painting from docs/integer-network.md alone, in Python's integers, equals the painter's: border, grain, network."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.models import load_model
from pleinair.network.integer import Convolution, Residual, Upsample
from tests.models import write_model
from tests.networks import random_network

Plane = list[list[list[int]]]  # [channel][row][column]


def grained(frame: Plane, most: int) -> Plane:
    def level(y: int, x: int) -> int:
        h = (y * 0x85EBCA77 ^ x * 0x9E3779B1) % 2**32
        h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
        h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
        return (h ^ h >> 16) % (2 * most + 1) - most

    return [
        [[min(255, max(0, v + level(y, x))) for x, v in enumerate(row)] for y, row in enumerate(rows)] for rows in frame
    ]


def reflected(frame: Plane, margin: int, stride: int) -> Plane:
    """Outwards without the outermost pixel; on below and to the right up to a multiple of the stride."""

    def places(length: int) -> list[int]:
        whole = -(-(length + 2 * margin) // stride) * stride
        found = []
        for i in range(-margin, whole - margin):
            i %= 2 * length - 2
            found.append(i if i < length else 2 * length - 2 - i)
        return found

    return [[[rows[y][x] for x in places(len(rows[0]))] for y in places(len(rows))] for rows in frame]


def convolved(x: Plane, c: Convolution) -> Plane:
    reach, height, width = c.kernel // 2, len(x[0]), len(x[0][0])
    taps = [
        [
            (i, dy - reach, dx - reach, int(c.weight[o, i, dy, dx]))
            for i in range(c.inputs)
            for dy in range(c.kernel)
            for dx in range(c.kernel)
        ]
        for o in range(c.outputs)
    ]

    def value(o: int, y: int, x0: int) -> int:
        total = int(c.bias[o])
        for i, dy, dx, weight in taps[o]:
            if 0 <= y + dy < height and 0 <= x0 + dx < width:
                total += weight * x[i][y + dy][x0 + dx]
        total *= int(c.gain[o])
        shift = int(c.shift[o])
        floor, rest = total >> shift, total & (1 << shift) - 1
        half = 1 << shift >> 1
        if shift and (rest > half or (rest == half and floor % 2)):
            floor += 1
        return min(c.high, max(c.low, floor))

    return [
        [[value(o, y, x0) for x0 in range(0, width, c.stride)] for y in range(0, height, c.stride)]
        for o in range(c.outputs)
    ]


@pytest.mark.parametrize("size", [(16, 17), (19, 16)])
def test_a_painting_from_the_text_alone(tmp_path, size):
    network = random_network(5, width=2, blocks=1, bits=8, kernel=3)
    margin, grain = network.halo + 1, 3
    model = load_model(str(write_model(tmp_path / "plain", network, margin, grain)), 8)
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    x: Plane = reflected(grained(frame.transpose(2, 0, 1).tolist(), grain), margin, network.stride)
    for layer in network.layers:
        if isinstance(layer, Upsample):
            x = [[[v for v in row for _ in (0, 1)] for row in rows for _ in (0, 1)] for rows in x]
        elif isinstance(layer, Residual):
            branch = x
            for c in layer.body:
                branch = convolved(branch, c)
            x = [
                [[min(255, max(0, a + b)) for a, b in zip(r, s, strict=True)] for r, s in zip(p, q, strict=True)]
                for p, q in zip(x, branch, strict=True)
            ]
        else:
            assert isinstance(layer, Convolution)
            x = convolved(x, layer)
    wanted = np.array(x).transpose(1, 2, 0)[margin : margin + size[0], margin : margin + size[1]]
    for backend in ("reference", "cpu"):
        with closing(open_painter(model, backend, 1)) as painter:
            np.testing.assert_array_equal(painter.paint(frame), wanted)
