"""The RTL blocks against their golden models: random parameters, random stalls, frames back to back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.finn import golden
from tests.hw.streams import (
    Case,
    Stream,
    compile_cases,
    half,
    intervals,
    literal,
    needs_verilator,
    run_cases,
    tie_values,
)

FRAMES = 3
Rng = np.random.Generator
STALLS = [(0, 0), (30, 30), (70, 0), (0, 70), (70, 70)]


def _signed_bits(values: np.ndarray) -> int:
    """Bits that hold all of ``values`` in two's complement, 2 at least."""
    return max(2, *(int(v if v >= 0 else ~v).bit_length() + 1 for v in (values.min(), values.max())))


def requant_case(
    rng: Rng, pe: int, cf: int, iw: int, ow: int, smin: int, sw: int, in_signed: bool, out_signed: bool, spare: int = 0
) -> Case:
    """Three frames of three pixels; bias about as large as the inputs."""
    channels = pe * cf
    shift = smin + rng.integers(0, min(1 << sw, 48 - smin), channels)
    bias = rng.integers(-(1 << (iw - 2)), 1 << (iw - 2), channels, endpoint=True)
    offset = bias + half(shift)
    bw = _signed_bits(offset) + spare
    params = 0
    for c in range(channels):
        params |= ((int(shift[c]) - smin) << bw | int(offset[c]) % (1 << bw)) << (c * (sw + bw))
    low, high = (-(1 << (iw - 1)), (1 << (iw - 1)) - 1) if in_signed else (0, (1 << iw) - 1)
    x = tie_values(rng, (FRAMES, 3, 3, channels), bias, shift, low, high)
    x[0, 0, 0], x[0, 0, 1] = low, high
    y = golden.requant_shift(x, bias, shift, ow, out_signed)
    parameters = {
        "PE": pe,
        "CF": cf,
        "IW": iw,
        "BW": bw,
        "SW": sw,
        "SMIN": smin,
        "OW": ow,
        "IN_SIGNED": int(in_signed),
        "OUT_SIGNED": int(out_signed),
        "PARAMS": literal(channels * (sw + bw), params),
    }
    return Case(
        "requant_shift",
        parameters,
        [Stream("in0_V", x.reshape(-1, pe), iw)],
        [Stream("out0_V", y.reshape(-1, pe), ow)],
        FRAMES,
        9 * cf,
    )


def requant_cases(rng: Rng) -> Iterator[Case]:
    """Edges first: shift 0, one channel, one shift for all, 48 bits to 16, unsigned inputs, spare bits in a bias."""
    yield requant_case(rng, 1, 1, 12, 8, 0, 0, True, False)
    yield requant_case(rng, 4, 1, 12, 4, 0, 1, True, True)
    yield requant_case(rng, 3, 5, 17, 8, 9, 0, True, False)
    yield requant_case(rng, 2, 3, 48, 16, 0, 6, True, True)
    yield requant_case(rng, 1, 4, 48, 16, 31, 0, True, False)
    yield requant_case(rng, 1, 4, 48, 16, 16, 5, False, False)
    yield requant_case(rng, 2, 2, 13, 8, 0, 3, False, True, 3)
    yield requant_case(rng, 5, 2, 30, 8, 22, 4, True, False)
    while True:
        iw = int(rng.integers(4, 49))
        sw = int(rng.integers(0, 6))
        smin = int(rng.integers(0, min(iw, 24)))
        ow = int(rng.choice([4, 8, 16, rng.integers(2, 17)]))
        pe, cf = int(rng.integers(1, 7)), int(rng.integers(1, 10))
        yield requant_case(
            rng, pe, cf, iw, ow, smin, sw, rng.random() < 0.7, rng.random() < 0.4, int(rng.integers(0, 3))
        )


def add_case(rng: Rng, pe: int, aw: int, bw: int, ow: int, signs: tuple[bool, bool, bool]) -> Case:
    """Words of extremes and of uniform values."""
    operands = []
    for bits, signed in ((aw, signs[0]), (bw, signs[1])):
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        uniform = rng.integers(low, high, (FRAMES * 60, pe), endpoint=True)
        extreme = rng.choice([low, high], (FRAMES * 60, pe))
        operands.append(np.where(rng.random((FRAMES * 60, pe)) < 0.3, extreme, uniform))
    a, b = operands
    flags = dict(zip(("A_SIGNED", "B_SIGNED", "OUT_SIGNED"), map(int, signs), strict=True))
    return Case(
        "add_clamp",
        {"PE": pe, "AW": aw, "BW": bw, "OW": ow, **flags},
        [Stream("in0_V", a, aw), Stream("in1_V", b, bw)],
        [Stream("out0_V", golden.add_clamp(a, b, ow, signs[2]), ow)],
        FRAMES,
        60,
    )


def add_cases(rng: Rng) -> Iterator[Case]:
    """The residual's form at 4, 8 and 16 bits, then any."""
    for bits in (4, 8, 16):
        yield add_case(rng, 3, bits, bits, bits, (False, True, False))
    while True:
        aw, bw, ow = (int(n) for n in rng.integers(2, 18, 3))
        a, b, o = (bool(n) for n in rng.integers(0, 2, 3))
        yield add_case(rng, int(rng.integers(1, 9)), aw, bw, ow, (a, b, o))


def fork_case(rng: Rng, width: int, sinks: int) -> Case:
    """Random words to every sink."""
    x = rng.integers(0, 1 << width, (FRAMES * 80, 1), dtype=np.uint64)
    outputs = [Stream(f"out{j}", x, width) for j in range(sinks)]
    return Case("stream_fork", {"W": width, "OUTPUTS": sinks}, [Stream("in", x, width)], outputs, FRAMES, 80)


def fork_cases(rng: Rng) -> Iterator[Case]:
    """Two to five sinks, and one."""
    for sinks in (1, 2, 3, 4, 5):
        yield fork_case(rng, 8, sinks)
    while True:
        yield fork_case(rng, int(rng.integers(1, 63)), int(rng.integers(2, 6)))


def upsample_case(rng: Rng, height: int, width: int, pe: int, cf: int, bits: int) -> Case:
    """Random images."""
    x = rng.integers(0, 1 << bits, (FRAMES, height, width, pe * cf))
    return Case(
        "upsample",
        {"W": pe * bits, "WI": width, "CF": cf},
        [Stream("in0_V", x.reshape(-1, pe), bits)],
        [Stream("out0_V", golden.upsample(x).reshape(-1, pe), bits)],
        FRAMES,
        4 * height * width * cf,
    )


def upsample_cases(rng: Rng) -> Iterator[Case]:
    """One pixel wide, one high, one word."""
    yield upsample_case(rng, 1, 1, 1, 1, 8)
    yield upsample_case(rng, 9, 1, 2, 1, 4)
    yield upsample_case(rng, 1, 9, 1, 3, 3)
    yield upsample_case(rng, 5, 1, 1, 4, 8)
    while True:
        height, width = (int(n) for n in rng.integers(1, 12, 2))
        yield upsample_case(rng, height, width, *(int(n) for n in rng.integers(1, 6, 2)), int(rng.integers(1, 17)))


def tap_sum_case(rng: Rng, taps: int, height: int, width: int, pe: int, cf: int, iw: int, spare: int = 0) -> Case:
    """Partials with many extremes, so that the sums fill their width; zeros in the columns right of the image."""
    lead = taps // 2
    low, high = -(1 << (iw - 1)), (1 << (iw - 1)) - 1
    shape = (FRAMES, height, width + lead, pe * cf * taps)
    x = np.where(rng.random(shape) < 0.5, rng.choice([low, high]), rng.integers(low, high, shape, endpoint=True))
    x[:, :, width:] = 0
    ow = iw + (taps - 1).bit_length() + spare
    return Case(
        "tap_sum",
        {"K": taps, "PE": pe, "CF": cf, "IW": iw, "OW": ow, "COLUMNS": width + lead, "LEAD": lead},
        [Stream("in0_V", x.reshape(-1, pe * taps), iw)],
        [Stream("out0_V", golden.tap_sum(x, taps, lead).reshape(-1, pe), ow)],
        FRAMES,
        height * (width + lead) * cf,
    )


def tap_sum_cases(rng: Rng) -> Iterator[Case]:
    """One word a pixel, rows narrower than the taps, two words a pixel."""
    yield tap_sum_case(rng, 9, 4, 12, 3, 1, 20)
    yield tap_sum_case(rng, 9, 5, 1, 1, 1, 7)
    yield tap_sum_case(rng, 9, 3, 3, 2, 2, 9)
    yield tap_sum_case(rng, 3, 1, 16, 1, 2, 12)
    yield tap_sum_case(rng, 3, 4, 1, 1, 3, 12)
    yield tap_sum_case(rng, 4, 3, 6, 2, 3, 11)
    yield tap_sum_case(rng, 2, 3, 5, 2, 1, 5)
    yield tap_sum_case(rng, 5, 3, 7, 1, 8, 30, 2)
    while True:
        taps = int(rng.choice([3, 5, 7, 9]))
        height, width = int(rng.integers(1, 6)), int(rng.integers(1, 20))
        pe, cf = int(rng.integers(1, 5)), int(rng.integers(1, 6))
        yield tap_sum_case(rng, taps, height, width, pe, cf, int(rng.integers(2, 28)), int(rng.integers(0, 3)))


def pixel_shuffle_case(rng: Rng, height: int, width: int, pe: int, cf: int, bits: int, *, border: bool = True) -> Case:
    """Random phases."""
    x = rng.integers(0, 1 << bits, (FRAMES, height + border, width + border, 4 * pe * cf))
    return Case(
        "pixel_shuffle",
        {"W": pe * bits, "CF": cf, "HI": height, "WI": width, "BORDER": int(border)},
        [Stream("in0_V", x.reshape(-1, pe), bits)],
        [Stream("out0_V", golden.pixel_shuffle(x, border=border).reshape(-1, pe), bits)],
        FRAMES,
        4 * (height + border) * (width + border) * cf,
    )


def pixel_shuffle_cases(rng: Rng) -> Iterator[Case]:
    """One pixel wide, one high; the sizes at which half a row's buffer is less than a row's."""
    yield pixel_shuffle_case(rng, 1, 1, 1, 1, 8)
    yield pixel_shuffle_case(rng, 6, 1, 1, 3, 4)
    yield pixel_shuffle_case(rng, 1, 7, 2, 1, 8)
    yield pixel_shuffle_case(rng, 5, 40, 3, 1, 8)
    yield pixel_shuffle_case(rng, 3, 24, 1, 4, 6)
    while True:
        height, width = (int(n) for n in rng.integers(1, 12, 2))
        yield pixel_shuffle_case(rng, height, width, *(int(n) for n in rng.integers(1, 5, 2)), int(rng.integers(1, 17)))


def depth_to_space_cases(rng: Rng) -> Iterator[Case]:
    """The shuffle without a border: one pixel wide, one high, half a row's buffer less than a row's."""
    for height, width, pe, cf in ((1, 1, 1, 1), (6, 1, 1, 3), (1, 7, 3, 1), (5, 40, 3, 1), (3, 24, 1, 3)):
        yield pixel_shuffle_case(rng, height, width, pe, cf, 8, border=False)
    while True:
        height, width, pe, cf = (int(n) for n in rng.integers(1, (12, 12, 5, 5)))
        yield pixel_shuffle_case(rng, height, width, pe, cf, int(rng.integers(1, 17)), border=False)


def space_to_depth_case(rng: Rng, block: int, size: tuple[int, int], pe: int, cf: int, bits: int) -> Case:
    """Random images of ``size`` blocks; the input waits while the upper rows of the blocks are read."""
    height, width = size
    x = rng.integers(0, 1 << bits, (FRAMES, block * height, block * width, pe * cf))
    return Case(
        "space_to_depth",
        {"W": pe * bits, "CF": cf, "B": block, "WO": width},
        [Stream("in0_V", x.reshape(-1, pe), bits)],
        [Stream("out0_V", golden.space_to_depth(x, block).reshape(-1, pe), bits)],
        FRAMES,
        height * (2 * block - 1) * width * block * cf,
    )


def space_to_depth_cases(rng: Rng) -> Iterator[Case]:
    """One block, one row and one column of blocks; pixels of one word, and of three."""
    yield space_to_depth_case(rng, 2, (1, 1), 1, 1, 8)
    yield space_to_depth_case(rng, 4, (5, 1), 3, 1, 8)
    yield space_to_depth_case(rng, 4, (2, 9), 1, 3, 8)
    yield space_to_depth_case(rng, 4, (3, 12), 3, 1, 8)
    yield space_to_depth_case(rng, 3, (2, 4), 2, 1, 5)
    while True:
        height, width, pe, cf = (int(n) for n in rng.integers(1, (5, 8, 5, 4)))
        yield space_to_depth_case(rng, int(rng.choice([2, 4])), (height, width), pe, cf, int(rng.integers(1, 17)))


def centre_case(rng: Rng, pixels: int, windows: int, pe: int, cf: int, bits: int, *, whole: bool) -> Case:
    """Random windows; each comes in one word of all its pixels, or in words of a part of one pixel each."""
    x = rng.integers(0, 1 << bits, (FRAMES * windows, pixels * pe * cf), dtype=np.int64)
    words = 1 if whole else pixels * cf
    middle = pixels // 2
    places = {"OFFSET": middle * pe * bits, "FIRST": 0} if whole else {"OFFSET": 0, "FIRST": middle * cf}
    lanes = pixels * pe if whole else pe
    return Case(
        "window_centre",
        {"IW": lanes * bits, "W": pe * bits, "WORDS": words, "COUNT": 1 if whole else cf, **places},
        [Stream("in0_V", x.reshape(-1, lanes), bits)],
        [Stream("out0_V", golden.window_centre(x, pixels).reshape(-1, pe), bits)],
        FRAMES,
        windows * words,
    )


def centre_cases(rng: Rng) -> Iterator[Case]:
    """Windows of 3 x 3 pixels in words, in one, of one pixel, of 25."""
    yield centre_case(rng, 9, 12, 2, 4, 8, whole=False)
    yield centre_case(rng, 9, 60, 4, 1, 8, whole=True)
    yield centre_case(rng, 9, 12, 1, 1, 4, whole=False)
    yield centre_case(rng, 1, 60, 3, 2, 16, whole=False)
    yield centre_case(rng, 25, 8, 1, 3, 8, whole=False)
    while True:
        pe, cf, bits = (int(n) for n in rng.integers(1, (5, 6, 17)))
        whole = bool(rng.random() < 0.3)
        pixels = int(rng.choice([1, 9, 25]))
        yield centre_case(rng, pixels, int(rng.integers(5, 20)), pe, 1 if whole else cf, bits, whole=whole)


def trim_case(rng: Rng, border: int, size: tuple[int, int], pe: int, cf: int, bits: int) -> Case:
    """Random frames of ``size`` (height, width)."""
    height, width = size
    x = rng.integers(0, 1 << bits, (FRAMES, height, width, pe * cf), dtype=np.int64)
    return Case(
        "trim_border",
        {"W": pe * bits, "CF": cf, "ROWS": height, "COLUMNS": width, "BORDER": border},
        [Stream("in0_V", x.reshape(-1, pe), bits)],
        [Stream("out0_V", golden.trim_border(x, border).reshape(-1, pe), bits)],
        FRAMES,
        height * width * cf,
    )


def trim_cases(rng: Rng) -> Iterator[Case]:
    """As residual blocks have it; one pixel that stays; sides that are powers of two, and one more."""
    yield trim_case(rng, 2, (9, 12), 1, 8, 8)
    yield trim_case(rng, 1, (3, 3), 2, 1, 4)
    yield trim_case(rng, 2, (8, 16), 4, 1, 8)
    yield trim_case(rng, 1, (17, 9), 1, 3, 16)
    yield trim_case(rng, 3, (7, 20), 1, 1, 8)
    while True:
        border, pe, cf, bits = (int(n) for n in rng.integers(1, (4, 5, 6, 17)))
        height, width = (int(n) for n in 2 * border + rng.integers(1, 12, 2))
        yield trim_case(rng, border, (height, width), pe, cf, bits)


BLOCKS: list[tuple[Callable[[Rng], Iterator[Case]], int]] = [
    (requant_cases, 60),
    (add_cases, 30),
    (fork_cases, 25),
    (upsample_cases, 36),
    (tap_sum_cases, 40),
    (pixel_shuffle_cases, 36),
    (depth_to_space_cases, 25),
    (space_to_depth_cases, 30),
    (centre_cases, 25),
    (trim_cases, 25),
]


@needs_verilator
@pytest.mark.parametrize(("make", "count"), BLOCKS, ids=[make.__name__ for make, _ in BLOCKS])
def test_block_equals_its_golden_model(make: Callable[[Rng], Iterator[Case]], count: int, tmp_path: Path) -> None:
    seed = 20240 + count
    print(f"seed {seed}")
    cases = [case for case, _ in zip(make(np.random.default_rng(seed)), range(count), strict=False)]
    simulator = compile_cases(cases, tmp_path)
    for number, stall in enumerate(STALLS):
        result = run_cases(cases, simulator, stall=stall, seed=seed + number)
        if stall == (0, 0):
            for case, measured in zip(cases, intervals(cases, result), strict=True):
                assert measured <= 1.01 * case.interval, f"{case.name}: {measured} cycles a frame, not {case.interval}"
    run_cases(cases, simulator, stall=(30, 30), seed=seed, restart_at=37)


@needs_verilator
def test_upsampling_goes_on_while_the_next_row_comes(tmp_path: Path) -> None:
    """Input at an average rate just above a quarter word a cycle: an output word every cycle, without gaps."""
    seed = 11
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    cases = [upsample_case(rng, 20, width, 1, cf, 8) for width, cf in ((30, 1), (10, 4), (16, 8))]
    result = run_cases(cases, compile_cases(cases, tmp_path), stall=(65, 0), seed=seed)
    for case, measured in zip(cases, intervals(cases, result), strict=True):
        assert measured <= 1.02 * case.interval, f"{case.name}: {measured} cycles a frame, not {case.interval}"


def test_there_are_two_hundred_configurations() -> None:
    assert sum(count for _, count in BLOCKS) >= 200
