"""Strokes: exact filters, and the same pixels whichever way a frame is painted."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.errors import ImageError, OptionError
from pleinair.films.lighting import FilmLight, Lighting
from pleinair.models import load_model
from pleinair.painting.strokes import StrokesPainter, choose_strokes, enlarge, shrink, weights, with_strokes

SIZES = [(33, 47), (64, 96), (130, 67), (48, 49)]


def noise(height: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def spline(t: Fraction) -> Fraction:
    """Keys' cubic with a = -1/2, as it is written in his paper (1981, equation 15)."""
    t, a = abs(t), Fraction(-1, 2)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else Fraction(0)


def exactly(small: np.ndarray, strokes: int, height: int, width: int) -> np.ndarray:
    """:func:`enlarge` with fractions, pixel by pixel."""
    out = np.empty((height, width, 3), np.uint8)
    rows, columns = small.shape[:2]

    def taps(place: int, side: int) -> list[tuple[int, Fraction]]:
        centre = Fraction(2 * place + 1, 2 * strokes) - Fraction(1, 2)
        near = centre.numerator // centre.denominator
        return [(min(max(n, 0), side - 1), spline(centre - n)) for n in range(near - 1, near + 3)]

    for y in range(height):
        for x in range(width):
            for channel in range(3):
                total = sum(
                    wy * wx * int(small[row, column, channel])
                    for row, wy in taps(y, rows)
                    for column, wx in taps(x, columns)
                )
                rounded = (total + Fraction(1, 2)).__floor__()
                out[y, x, channel] = min(255, max(0, rounded))
    return out


@pytest.mark.parametrize("strokes", [2, 3, 4])
def test_enlarging_is_the_spline_to_the_bit(strokes):
    small = noise(5, 7)
    small[0, 0], small[1, 1] = 255, 0
    height, width = 5 * strokes - 1, 7 * strokes - (strokes > 2)
    assert np.array_equal(enlarge(small, strokes, height, width), exactly(small, strokes, height, width))


@pytest.mark.parametrize("strokes", [2, 3, 4])
def test_bands_do_not_show(strokes, monkeypatch):
    import pleinair.painting.strokes as module

    small = noise(150, 20)
    whole = enlarge(small, strokes, 150 * strokes, 20 * strokes)
    monkeypatch.setattr(module, "_BAND", 7)
    assert np.array_equal(enlarge(small, strokes, 150 * strokes, 20 * strokes), whole)


@pytest.mark.parametrize("strokes", [2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_shrinking_is_the_mean(strokes, size):
    frame = noise(*size)
    small = shrink(frame, strokes)
    assert small.shape == (-(-size[0] // strokes), -(-size[1] // strokes), 3)
    for y, x in ((0, 0), (3, 5), (small.shape[0] - 1, small.shape[1] - 1)):
        rows = [min(size[0] - 1, y * strokes + k) for k in range(strokes)]
        columns = [min(size[1] - 1, x * strokes + k) for k in range(strokes)]
        total = frame[np.ix_(rows, columns)].astype(int).sum(axis=(0, 1))
        assert small[y, x].tolist() == ((total + strokes**2 // 2) // strokes**2).tolist()


@pytest.mark.parametrize("strokes", [1, 2, 3, 4])
def test_weights_add_up_and_flat_stays_flat(strokes):
    assert all(sum(factors) == 2 * (2 * strokes) ** 3 for _, factors in weights(strokes))
    for level in (0, 1, 127, 254, 255):
        flat = np.full((20, 30, 3), level, np.uint8)
        assert (enlarge(shrink(flat, strokes), strokes, 20, 30) == level).all()


@pytest.mark.parametrize("strokes", [2, 3, 4])
def test_every_way_of_painting_gives_the_same_pixels(strokes):
    model = load_model("starry-night-small", 8)
    frames = [noise(130, 67, seed) for seed in range(4)]
    with with_strokes(open_painter(model, "reference"), strokes) as painter:
        plain = [painter.paint(frame) for frame in frames]
    assert all(painting.shape == frame.shape for painting, frame in zip(plain, frames, strict=True))
    for backend, pixels in (("cpu", 1_000_000), ("cpu", 4_000)):
        with with_strokes(open_painter(model, backend, 2, tile_pixels=pixels), strokes) as painter:
            assert [np.array_equal(painter.paint(f), p) for f, p in zip(frames, plain, strict=True)] == [True] * 4
            assert [np.array_equal(a, p) for a, p in zip(painter.paint_each(frames), plain, strict=True)] == [True] * 4
            assert painter.spent.frames == 4


def test_a_film_s_light_is_that_of_its_small_frames():
    model = load_model("starry-night-small", 8)
    frames = [noise(64, 64, seed) // (1 + seed) for seed in range(4)]
    with open_painter(model) as inner:
        painter = StrokesPainter(inner, 2)
        film = painter.lit_by(FilmLight(Lighting("scene")))
        own = inner.lit_by(FilmLight(Lighting("scene")))
        for frame in frames:
            assert np.array_equal(film.paint(frame), enlarge(own.paint(shrink(frame, 2)), 2, 64, 64))


def test_what_cannot_be_painted_is_refused_and_errors_pass():
    with with_strokes(open_painter(load_model("starry-night-small", 8)), 4) as painter:
        with pytest.raises(ImageError, match="with strokes 4 it needs 64x64"):
            painter.paint(noise(63, 90))
        with pytest.raises(ImageError, match="must be a NumPy array of uint8"):
            painter.paint(np.zeros((64, 64), np.uint8))

        def frames():
            yield noise(64, 64)
            raise OSError("the source")

        paintings = painter.paint_each(frames())
        assert next(paintings).shape == (64, 64, 3)
        with pytest.raises(OSError, match="the source"):
            next(paintings)
    with open_painter(load_model("starry-night-small", 8)) as painter:
        assert with_strokes(painter, 1) is painter


def test_auto_aims_at_the_size_of_training():
    assert [choose_strokes("auto", (16 * side // 9, side), 320) for side in (180, 360, 480, 540, 720, 1080, 3000)] == [
        *(1, 1, 1, 2, 2, 3, 4)
    ]
    assert choose_strokes("auto", (40, 40), 8) == 2  # 3 and 4 would be too small to paint
    assert choose_strokes(3, (48, 90), None) == 3
    for wrong, text in ((0, "1 to 4, or auto"), (5, "1 to 4"), ("2", "1 to 4"), (True, "1 to 4"), (4, "at 15 pixels")):
        with pytest.raises(OptionError, match=text):
            choose_strokes(wrong, (60, 90), 320)
    with pytest.raises(OptionError, match="does not say how large"):
        choose_strokes("auto", (640, 480), None)
