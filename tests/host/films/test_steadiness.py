"""Steadiness: the documented integers on every machine; noise held still, change and light followed."""

from __future__ import annotations

import hashlib
import tracemalloc

import cv2
import numpy as np
import pytest

from pleinair.films import steadiness
from pleinair.films.steadiness import DEFAULT_STRENGTH, MAX_STRENGTH, Steady
from pleinair.painting.grain import grain_pattern


def steadied_slowly(frames: list[np.ndarray], strength: int) -> list[np.ndarray]:
    """The formula of the module's docstring in Python integers, pixel by pixel."""
    height, width = frames[0].shape[:2]
    held = [[[128 * int(v) for v in pixel] for pixel in row] for row in frames[0]]
    results = [frames[0]]

    def mirrored(i: int, n: int) -> int:
        return -i if i < 0 else 2 * n - 2 - i if i >= n else i

    for frame in frames[1:]:
        difference = [
            [[128 * int(frame[y, x, c]) - held[y][x][c] for c in range(3)] for x in range(width)] for y in range(height)
        ]
        for y in range(height):
            for x in range(width):
                around = [
                    difference[mirrored(y + j, height)][mirrored(x + i, width)]
                    for j in range(-4, 5)
                    for i in range(-4, 5)
                ]
                pixel = sum(abs(v) for v in difference[y][x])
                area = sum(abs(sum(d[c] for d in around)) for c in range(3))
                weight = min(16, max(1, pixel // (36 * strength) - 16, area // (972 * strength) - 8))
                for c in range(3):
                    held[y][x][c] += (weight * difference[y][x][c] + 8) >> 4
        results.append(np.array([[[(v + 64) >> 7 for v in pixel] for pixel in row] for row in held], np.uint8))
    return results


def hard_frames(height: int, width: int) -> list[np.ndarray]:
    """Noise of several strengths, drifting light, a moving block, black and white."""
    noise = np.random.default_rng(height)
    base = noise.integers(0, 256, (height, width, 3))
    frames = []
    for i, sigma in enumerate((0, 1, 2, 4, 8, 2)):
        frame = base + 2 * i + noise.normal(0, sigma, base.shape)
        frame[2:5, i : i + 3] += 30
        frames.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
    black, white = np.zeros_like(frames[0]), np.full_like(frames[0], 255)
    return [*frames, black, white, frames[0], frames[1]]


@pytest.mark.parametrize("strength", [1, DEFAULT_STRENGTH, MAX_STRENGTH])
@pytest.mark.parametrize("strip", [1, 130, 100_000])
def test_every_value_is_the_formula(monkeypatch, strength, strip):
    monkeypatch.setattr(steadiness, "_STRIP", strip)
    frames = hard_frames(9, 11)
    steady, copies = Steady(strength), [frame.copy() for frame in frames]
    results = [steady(frame) for frame in frames]
    for result, wanted in zip(results, steadied_slowly(copies, strength), strict=True):
        np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(frames, copies)


def steadied_plainly(held: np.ndarray, frame: np.ndarray, strength: int) -> tuple[np.ndarray, np.ndarray]:
    """The docstring's formula on whole arrays of int64: what is held next, and the result."""
    difference = 128 * frame.astype(np.int64) - held
    bordered = np.pad(difference, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    area = np.abs(np.lib.stride_tricks.sliding_window_view(bordered, (9, 9), (0, 1)).sum((3, 4))).sum(2)
    pixel = np.abs(difference).sum(2)
    weight = np.clip(np.maximum(pixel // (36 * strength) - 16, area // (972 * strength) - 8), 1, 16)
    held = held + ((weight[:, :, None] * difference + 8) >> 4)
    return held, ((held + 64) >> 7).astype(np.uint8)


@pytest.mark.parametrize("strength", range(1, MAX_STRENGTH + 1))
def test_random_sequences_are_the_formula_on_plain_arrays(strength):
    """Of odd sizes, with steps of every height, so that every weight and both ends of the range come up."""
    noise = np.random.default_rng(strength)
    for height, width in ((5, 5), (37, 53), (64, 31), (131, 97)):
        steady = Steady(strength)
        frame = noise.integers(0, 256, (height, width, 3), np.uint8)
        held = 128 * frame.astype(np.int64)
        np.testing.assert_array_equal(steady(frame), frame)
        for reach in (0, 1, 3, strength, 4 * strength, 80, 255, 2):
            change = noise.integers(-reach, reach + 1, frame.shape) + noise.integers(-reach, reach + 1) // 2
            frame = np.clip(frame + change * (noise.random((height, width, 1)) < 0.7), 0, 255).astype(np.uint8)
            held, wanted = steadied_plainly(held, frame, strength)
            np.testing.assert_array_equal(steady(frame), wanted)
            np.testing.assert_array_equal(steady.state()["held"], held)
            again = Steady(strength)
            again.restore(steady.state())
            steady = again


@pytest.mark.parametrize("divisor", sorted({k * s for k in (36, 972) for s in range(1, MAX_STRENGTH + 1)}))
def test_quotients_are_whole_up_to_where_weights_end(divisor):
    """At each quotient's first and last value, for both kinds of input, and at the largest one."""
    edges = np.arange(1, 33) * divisor
    values = np.concatenate([[0, 1], edges - 1, edges, edges + 1, [3 * 81 * 32640]])
    wanted = np.minimum(values // divisor, 255)
    out = np.empty((1, len(values)), np.uint8)
    found = steadiness._whole_parts(values[None].astype(np.float32), divisor, out)[0]
    np.testing.assert_array_equal(found, wanted)
    if divisor <= 36 * MAX_STRENGTH:
        found = steadiness._whole_parts(np.minimum(values, 32767)[None].astype(np.int16), divisor, out)[0]
        np.testing.assert_array_equal(found, np.minimum(np.minimum(values, 32767) // divisor, 255))


def test_pinned_for_every_machine_whatever_the_threads():
    before, digests = cv2.getNumThreads(), set()
    frames = [(grain_pattern(230 + i, 300, 16)[i:] + 128).astype(np.uint8) for i in range(3)]
    frames += [frame // 4 + 90 for frame in frames]
    try:
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            steady = Steady(6)
            digests.add(hashlib.sha256(b"".join(steady(frame).tobytes() for frame in frames)).hexdigest())
    finally:
        cv2.setNumThreads(before)
    assert digests == {"5cd4533fb042f62a57ae328b4ef0a8957d94d6c8f1ac79ab62ce81fec6035301"}


def test_strength_0_changes_nothing():
    steady = Steady(0)
    for frame in hard_frames(16, 20):
        assert steady(frame) is frame


def test_strengths_there_are():
    for strength in (-1, MAX_STRENGTH + 1):
        with pytest.raises(ValueError, match=f"strength {strength}: 0 to 16"):
            Steady(strength)


def flicker(frames: list[np.ndarray]) -> float:
    """Mean difference of successive frames, grey levels."""
    return float(np.mean(np.abs(np.diff(np.array(frames, np.int16), axis=0))))


@pytest.mark.parametrize(("sigma", "most"), [(1, 0.06), (2, 0.06), (4, 0.08), (8, 0.6)])
def test_noise_is_held_still(sigma, most):
    noise = np.random.default_rng(0)
    scene = np.linspace(30, 220, 160)[None, :, None] + np.zeros((120, 1, 3))
    frames = [np.rint(scene + noise.normal(0, sigma, scene.shape)).astype(np.uint8) for _ in range(40)]
    results = list(map(Steady(), frames))
    assert flicker(results[10:]) < most * flicker(frames[10:])
    assert np.abs(results[-1] - scene).mean() < 0.8 * np.abs(frames[-1] - scene).mean()


@pytest.mark.parametrize(("step", "edge"), [(12, 0), (-12, 0), (3, 4), (-3, 4)])
def test_a_step_is_followed_within_a_frame(step, edge):
    """Large ones to the edge, small ones where their area is seen."""
    steady, frame = Steady(4), np.full((60, 80, 3), 100, np.uint8)
    steady(frame)
    after = frame.copy()
    after[20:40, 30:50] += np.uint8(step % 256)
    result = steady(after)
    inner = (slice(20 + edge, 40 - edge), slice(30 + edge, 50 - edge))
    np.testing.assert_array_equal(result[inner], after[inner])
    np.testing.assert_array_equal(result[:16], frame[:16])


def test_small_things_move_without_a_trail():
    steady = Steady(4)
    for i in range(30):
        frame = np.full((20, 40, 3), 100, np.uint8)
        frame[10, 4 + i] = 112
        np.testing.assert_array_equal(steady(frame), frame)


def test_what_lasts_is_followed_however_small():
    steady, frame = Steady(4), np.full((20, 30, 3), 100, np.uint8)
    steady(frame)
    for _ in range(40):
        result = steady(frame + np.uint8(1))
    assert (result == 101).all()


@pytest.mark.parametrize("sigma", [0, 2, 4])
@pytest.mark.parametrize("slope", [1, -1, 3])
def test_light_that_drifts_is_followed_closely(sigma, slope):
    noise, steady, lags = np.random.default_rng(0), Steady(), list[float]()
    scene = np.linspace(80, 120, 80)[None, :, None] + np.zeros((60, 1, 3))
    for i in range(30):
        light = np.rint(scene + slope * i)
        result = steady(np.clip(light + np.rint(noise.normal(0, sigma, scene.shape)), 0, 255).astype(np.uint8))
        lags.append(float(np.abs((light - result).mean())))
    assert max(lags) < 1.5


def test_another_size_starts_anew():
    steady = Steady()
    for height, width in ((20, 30), (30, 20), (20, 30)):
        frames, fresh = hard_frames(height, width), Steady()
        np.testing.assert_array_equal(steady(frames[0]), frames[0])
        np.testing.assert_array_equal([steady(f) for f in frames[1:]], [fresh(f) for f in frames][1:])


def test_memory_for_large_frames():
    """What is held takes 6 bytes a pixel; a frame's work takes the result, a byte a pixel, and strips."""
    frame, steady = np.zeros((1500, 2000, 3), np.uint8), Steady()
    tracemalloc.start()
    try:
        steady(frame)
        assert tracemalloc.get_traced_memory()[0] < 19e6
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        steady(frame)
        assert tracemalloc.get_traced_memory()[1] - before < 16e6
    finally:
        tracemalloc.stop()
