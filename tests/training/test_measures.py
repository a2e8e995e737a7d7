"""Measures against pictures whose answer is known."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from pleinair_training.measures import (
    border_line,
    changes,
    feature_distance,
    flicker,
    kept_light,
    similarity,
    static_pixels,
)


def grey(level: float, height: int = 256, width: int = 384) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def texture(seed: int = 0, height: int = 256, width: int = 384) -> np.ndarray:
    return np.random.default_rng(seed).integers(80, 176, (height, width, 3), dtype=np.uint8)


def test_similarity_of_flat_pictures_is_the_luminance_term():
    """Without contrast SSIM is (2 a b + c) / (a^2 + b^2 + c), c = (0.01 x 255)^2 (Wang et al., equation 6)."""
    c = 2.55**2
    assert similarity(grey(100), grey(160)) == pytest.approx((2 * 100 * 160 + c) / (100**2 + 160**2 + c), abs=1e-6)
    assert similarity(texture(), texture()) == pytest.approx(1)
    assert similarity(texture(0), texture(1)) < 0.1


def test_feature_distance_of_known_vectors():
    def features(first, second):
        """Two layers of one place each."""
        return {"a": torch.tensor(first).view(1, -1, 1, 1), "b": torch.tensor(second).view(1, -1, 1, 1)}

    x = features([1.0, 0.0], [3.0, 4.0, 0.0])
    assert feature_distance(x, features([7.0, 0.0], [0.6, 0.8, 0.0]), ("a", "b")) == pytest.approx(0, abs=1e-12)
    assert feature_distance(x, features([0.0, 5.0], [3.0, 4.0, 0.0]), ("a", "b")) == pytest.approx(1)  # 2 and 0
    # cos = 3/5, and |x - y|^2 = 2 - 2 cos of unit vectors.
    assert feature_distance(x, features([0.0, 5.0], [9.0, 0.0, 0.0]), ("b",)) == pytest.approx(0.8)
    assert feature_distance(x, features([0.0, 0.0], [0.0, 0.0, 0.0]), ("a",)) == pytest.approx(1)  # no NaN


def cie_lab(picture: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of uint8 sRGB by the standards' formulas: IEC 61966-2-1, then CIE 15."""
    v = picture.astype(np.float64) / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    x, y, z = np.moveaxis(linear @ np.transpose(matrix) / [0.950456, 1, 1.088754], -1, 0)
    fx, fy, fz = (np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29) for t in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def blurred(plane: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur over four deviations a side, the picture reflected at its borders: a convolution an axis."""
    reach = 4 * int(sigma)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        pads = [(0, 0), (0, 0)]
        pads[axis] = (reach, reach)
        wide = np.pad(plane, pads, mode="reflect")
        plane = np.apply_along_axis(np.convolve, axis, wide, kernel, "valid")
    return plane


def scene(seed: int) -> np.ndarray:
    """Large areas of colour with a texture on them."""
    rng = np.random.default_rng(seed)
    areas = np.kron(rng.integers(30, 226, (4, 5, 3)), np.ones((40, 40, 1)))
    return np.clip(areas + rng.normal(0, 15, areas.shape), 0, 255).astype(np.uint8)


def test_kept_light_is_what_the_formulas_give():
    photo, other = scene(1), scene(2)
    painting = (0.5 * photo + 0.3 * other + 20).astype(np.uint8)
    found = kept_light(painting, photo)
    a, b = cie_lab(painting), cie_lab(photo)
    for sigma in (4, 16, 40):
        x, y = (blurred(lab[..., 0], sigma) for lab in (a, b))
        correlation = np.corrcoef(x.ravel(), y.ravel())[0, 1]
        assert getattr(found, f"l_correlation_{sigma}") == pytest.approx(correlation, abs=2e-3)
        assert getattr(found, f"l_spread_{sigma}") == pytest.approx(x.std() / y.std(), rel=5e-3)
    chroma = [np.corrcoef(*(blurred(lab[..., k], 16).ravel() for lab in (a, b)))[0, 1] for k in (1, 2)]
    assert found.chroma_correlation_16 == pytest.approx(np.mean(chroma), abs=2e-3)
    assert 0.3 < found.l_spread_16 < 0.8 and 0.5 < found.l_correlation_16 < 0.99


def test_a_picture_keeps_its_own_light_and_its_negative_none():
    photo = scene(3)
    own, negative = kept_light(photo, photo), kept_light(255 - photo, photo)
    assert list(asdict(own).values()) == pytest.approx([1] * 7)
    assert negative.l_correlation_16 < -0.9


def test_without_contrast_there_is_no_correlation():
    flat, photo = kept_light(grey(120, 64, 64), scene(4)[:64, :64]), kept_light(scene(4)[:64, :64], grey(0, 64, 64))
    assert np.isnan([flat.l_correlation_16, flat.chroma_correlation_16, photo.l_correlation_4, photo.l_spread_40]).all()
    assert flat.l_spread_16 == pytest.approx(0, abs=1e-3)


def test_static_pixels_leave_out_what_moves_and_its_surroundings():
    frames = [grey(100, 40, 40) for _ in range(3)]
    frames[1][20, 10, 2] = 124  # one channel of one pixel, just enough
    frames[2][20, 30] = 123  # just not enough
    moving = np.argwhere(~static_pixels(frames))
    assert moving.min(0).tolist() == [16, 6] and moving.max(0).tolist() == [24, 14] and len(moving) == 81


def test_flicker_counts_static_pixels_only():
    frames = [grey(level, 8, 8) for level in (100, 103, 99)]
    static = np.zeros((8, 8), bool)
    static[:4] = True
    frames[1][4:] = 255
    assert flicker(iter(frames), static) == pytest.approx((3 + 4) / 2)
    still, moving = changes(iter(frames), static)
    assert still == pytest.approx((3 + 4) / 2)
    # All pixels' change is both parts' by their numbers of pixels.
    everything = np.abs(np.diff(np.array(frames, np.int16), axis=0)).mean()
    assert (still * static.sum() + moving * (~static).sum()) / static.size == pytest.approx(everything)
    assert np.isnan(changes(iter(frames), np.ones_like(static))[1])
    assert flicker([grey(0, 8, 8), grey(255, 8, 8)], static) == 255  # no wrap of uint8


@pytest.mark.parametrize("side", range(4))
def test_a_line_along_the_frame_shows_in_the_border(side):
    """30 levels on one side of four, on a texture whose own means differ by much less."""
    plain = texture()
    lined = np.rot90(plain, side).copy()
    lined[:4] += 30
    assert abs(border_line(plain)) < 1
    assert border_line(np.rot90(lined, -side)) == pytest.approx(30 / 4, abs=1)
    thin = np.rot90(plain, side).copy()
    thin[:1] -= 60
    assert border_line(np.rot90(thin, -side)) == pytest.approx(60 / 4 / 4, abs=1)


def test_what_the_picture_does_everywhere_is_no_border():
    """A sky that darkens evenly differs from edge to band, but just as much further in."""
    ramp = np.repeat(np.linspace(0, 255, 256).round().astype(np.uint8)[:, None], 384, axis=1)
    assert abs(border_line(np.repeat(ramp[:, :, None], 3, axis=2))) < 0.2
