"""docs/integer-network.md as a specification: a painter written from its text alone paints the painter's pixels.

Nothing of pleinair computes here but what is tested. The network comes from its file, the margin and the grain from the
card. Sums are int64, the light's formula is in Python's integers.
"""

from __future__ import annotations

import io
import json
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.models import load_model
from tests.models import card_of, write_model
from tests.networks import adaptive_network, random_network

_NORM = ("gamma", "beta", "meter_bias", "meter_multiplier", "meter_shift")


class Painter:
    """The document's painter of one model folder."""

    def __init__(self, folder: Path, bits: int) -> None:
        card = card_of(folder)
        self.margin, self.grain, self.bits = card["margin"], card["grain"], bits
        with np.load(io.BytesIO((folder / f"network-{bits}bit.npz").read_bytes())) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.layers = json.loads(self.arrays["header"].tobytes())["layers"]

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to the same."""
        height, width = frame.shape[:2]
        grained = np.clip(frame + self._grain(height, width)[:, :, None], 0, 255)
        tall, wide = (-(-(side + 2 * self.margin) // self._stride()) * self._stride() for side in (height, width))
        rows, columns = (self._reflected(n, to) for n, to in ((height, tall), (width, wide)))
        x = grained[rows][:, columns].astype(np.int64)
        if any(name.endswith(".gamma") for name in self.arrays):
            for i in range(tall):
                for j in range(wide):
                    y, z = (min(max(at - self.margin, 0), n - 1) for at, n in ((i, height), (j, width)))
                    if (i - self.margin, j - self.margin) != (y, z):
                        x[i, j] = np.clip((3 * grained[y, z].astype(int) - x[i, j] + 1) // 2, 0, 255)
        x = x.transpose(2, 0, 1)
        self._number, self._high = 0, 255
        self._frame, self._shape = (self.margin, self.margin + height, self.margin, self.margin + width), (tall, wide)
        for layer in self.layers:
            x = self._layer(layer, x)
        m = self.margin
        return x.transpose(1, 2, 0)[m : m + height, m : m + width].astype(np.uint8)

    def _grain(self, height: int, width: int) -> np.ndarray:
        """Section "Canvas grain"."""
        word, a = (1 << 32) - 1, self.grain
        levels = np.zeros((height, width), int)
        for y in range(height):
            for x in range(width):
                h = (y * 0x85EBCA77 & word) ^ (x * 0x9E3779B1 & word)
                h = (h ^ h >> 16) * 0x85EBCA6B & word
                h = (h ^ h >> 13) * 0xC2B2AE35 & word
                h ^= h >> 16
                levels[y, x] = h % (2 * a + 1) - a
        return levels

    def _reflected(self, count: int, whole: int) -> list[int]:
        """Section "Borders and tiles": which pixel of a row stands at each place of the row with its margins."""
        period = max(1, 2 * (count - 1))
        places = [abs((i - self.margin) % period) for i in range(whole)]
        return [i if i < count else period - i for i in places]

    def _stride(self) -> int:
        down = 1
        for layer in self.layers:
            down *= {"space_to_depth": layer.get("block", 1), "convolution": layer.get("stride", 1)}.get(
                layer["kind"], 1
            )
        return down

    def _layer(self, layer: dict[str, Any], x: np.ndarray) -> np.ndarray:
        kind, block = layer["kind"], layer.get("block", 1)
        if kind == "convolution":
            return self._convolution(layer, x, signed=False)
        if kind == "residual":
            y = x
            for number, inner in enumerate(layer["body"], 1):
                y = self._convolution(inner, y, signed=number == len(layer["body"]))
            self._high = (1 << self.bits) - 1
            return np.clip(x + y, 0, self._high)
        if kind == "upsample":
            return x.repeat(2, 1).repeat(2, 2)
        channels, height, width = x.shape
        if kind == "space_to_depth":
            tiles = x.reshape(channels, height // block, block, width // block, block)
            return tiles.transpose(0, 2, 4, 1, 3).reshape(-1, height // block, width // block)
        assert kind == "depth_to_space"
        tiles = x.reshape(channels // block**2, block, block, height, width)
        return tiles.transpose(0, 3, 1, 4, 2).reshape(-1, height * block, width * block)

    def _convolution(self, layer: dict[str, Any], x: np.ndarray, signed: bool) -> np.ndarray:
        names = (
            "weight",
            "bias",
            "shift",
            "multiplier",
            "gamma",
            "beta",
            "meter_bias",
            "meter_multiplier",
            "meter_shift",
        )
        own = {name: self.arrays.get(f"{self._number}.{name}") for name in names}
        self._number += 1
        weight = own["weight"]
        assert weight is not None
        k, stride = weight.shape[2], layer["stride"]
        padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
        total: np.ndarray = np.zeros((len(weight), -(-x.shape[1] // stride), -(-x.shape[2] // stride)), np.int64)
        for i in range(k):
            for j in range(k):
                seen = padded[:, i : i + x.shape[1] : stride, j : j + x.shape[2] : stride]
                total += np.tensordot(weight[:, :, i, j].astype(np.int64), seen, 1)
        top, last = (1 << layer["out_bits"]) - 1, self._number == sum(name.endswith(".weight") for name in self.arrays)
        numbers = [(int(own["bias"][o]), 1, int(own["shift"][o])) for o in range(len(weight))]
        if layer.get("adaptive"):
            numbers = [self._light(own, o, total[o], layer["out_bits"], weight[o]) for o in range(len(weight))]
        out = np.stack([self._scaled(total[o], *numbers[o]) for o in range(len(weight))])
        low, high = (-(top + 1) // 2, top // 2) if signed else (0, 255 if last else top)
        self._high = top
        return np.clip(out, low, high)

    @staticmethod
    def _scaled(total: np.ndarray, bias: int, multiplier: int, shift: int) -> np.ndarray:
        """round_half_even((sum + bias) * multiplier / 2^shift)."""
        value = (total + bias) * multiplier
        whole, rest, half = value >> shift, value & ((1 << shift) - 1), (1 << shift) // 2
        up = (rest > half) | ((rest == half) & (whole & 1 == 1)) if shift else np.zeros(value.shape, bool)
        return np.asarray(whole + up)

    def _light(
        self, own: dict[str, Any], o: int, total: np.ndarray, out_bits: int, weight: np.ndarray
    ) -> tuple[int, int, int]:
        """Section "Light", of one channel: bias, multiplier, shift."""
        g, t, b0, m0, s0 = (int(own[name][o]) for name in _NORM)
        q = np.clip(self._scaled(total, b0, m0, s0), 0, 255)
        k = self._shape[0] // total.shape[0]
        first, last, left, right = self._frame
        inside = q[first // k : -(-last // k), left // k : -(-right // k)]
        n, t1, t2 = inside.size, int(inside.sum()), int((inside * inside).sum())
        d = n * t2 - t1 * t1 + 4 * n * n
        wide = self.bits > 8

        def m(s: int) -> int:
            return (isqrt(4 * g * g * n * n * m0 * m0 * 4**s // (2**16 * 4**s0 * d)) + 1) // 2

        longest = 40 if wide else 24 - out_bits
        shift = max((s for s in range(longest + 1) if m(s) <= 31), default=0)
        multiplier = min(max(m(shift), 1), 31)
        numerator = t * 2**shift * n * m0 - 256 * multiplier * t1 * 2**s0
        q_ = 256 * multiplier * n * m0
        room = (1 << (47 if wide else 24)) - int(np.abs(weight.astype(np.int64)).sum()) * self._high
        limit = room - (1 << (shift - 1) if shift else 0)
        return min(max(b0 + (2 * numerator + q_) // (2 * q_), -limit), limit), multiplier, shift


@pytest.mark.parametrize(
    ("make", "bits", "size", "margin", "grain"),
    [
        (adaptive_network, 8, (37, 50), 28, 2),
        (adaptive_network, 4, (17, 16), 44, 5),  # more margin than frame
        (adaptive_network, 16, (17, 20), 28, 0),
        (random_network, 8, (17, 16), 44, 5),
        (random_network, 4, (30, 21), 24, 2),
    ],
)
def test_a_painter_from_the_text_alone_paints_the_same(tmp_path, make, bits, size, margin, grain):
    write_model(tmp_path / "model", make(bits + margin, bits=bits), margin=margin, grain=grain)
    chance = np.random.default_rng(bits)
    coarse = chance.integers(0, 256, (4, 5, 3)).repeat(12, 0).repeat(12, 1)[: size[0], : size[1]]
    frame = np.clip(coarse + chance.integers(-20, 21, (*size, 3)), 0, 255).astype(np.uint8)
    with open_painter(load_model(str(tmp_path / "model"), bits), "cpu", 1) as painter:
        painting = painter.paint(frame)
    assert painting.std() > 1
    np.testing.assert_array_equal(Painter(tmp_path / "model", bits).paint(frame), painting)
