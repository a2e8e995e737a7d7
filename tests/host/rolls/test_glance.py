"""A day at a glance: its pictures show what the frames show."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from pleinair.errors import OptionError, RollError
from pleinair.films.choice import Choice
from pleinair.rolls.glance import glance
from tests.host.rolls.test_cut import dated_roll
from tests.rolls import HEIGHT, WIDTH

SLOPE = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))[..., None].repeat(3, 2) // 4 - 13


def shade(number: int) -> np.ndarray:
    """A frame that is lighter than the one before it, dark at its top left and light at its lower right."""
    return (SLOPE + min(230, 40 + 4 * number)).astype(np.uint8)


def test_a_strip_has_a_column_of_each_frame(tmp_path):
    reel = dated_roll(tmp_path / "roll", plan=shade)
    for original in (False, True):
        seen = glance(reel, original=original)
        wide = 1440 // 42
        assert seen.strip.shape == (HEIGHT, 42 * wide, 3) and seen.frames == 42
        for number in range(42):
            column = seen.strip[:, number * wide : (number + 1) * wide].astype(int)
            assert (column == column[:, :1]).all()
            assert np.abs(column[:, 0] - shade(number)[:, WIDTH // 2]).mean() < 3
        assert list(seen.brightness) == pytest.approx([shade(n).mean() for n in range(42)], abs=2)


def test_a_day_of_it(tmp_path):
    reel = dated_roll(tmp_path / "roll", plan=shade)
    seen = glance(reel, Choice(days=(datetime.date(2026, 11, 25),)))
    assert (seen.frames, seen.first, seen.last) == (30, "2026-11-25 00:00", "2026-11-25 04:50")
    assert seen.brightness[0] == pytest.approx(shade(12).mean(), abs=2)


def test_a_sheet_shows_frames_of_all_of_it(tmp_path):
    reel = dated_roll(tmp_path / "roll", plan=shade)
    seen = glance(reel)
    assert seen.sheet.shape == (8 + 4 * (240 + 8), 8 + 6 * (320 + 8), 3)
    middles = [seen.sheet[8 + row * 248 + 60, 8 + column * 328 + 160, 0] for row in range(4) for column in range(6)]
    assert np.diff(middles.__class__(map(int, middles))).min() > 2
    few = glance(dated_roll(tmp_path / "few", 3, plan=shade))
    assert few.sheet.shape == (8 + 248, 8 + 3 * 328, 3)


def test_the_graph_rises_as_the_frames_do(tmp_path):
    seen = glance(dated_roll(tmp_path / "roll", plan=shade))
    # The line's colour, in the columns beside the marks: lower rows are darker frames.
    line = (seen.graph.astype(int) - (178, 106, 0) == 0).all(axis=2)
    heights = [np.flatnonzero(line[:, x]).mean() for x in (100, 400, 800, 1300)]
    assert (np.diff(heights) < -20).all()
    inner = 360 - 16 - 40
    assert heights[0] == pytest.approx(16 + (1 - shade(1).mean() / 255) * inner, abs=6)


def test_what_there_is_not_is_told(tmp_path):
    reel = dated_roll(tmp_path / "roll", 5)
    with pytest.raises(OptionError, match="no frame of the days"):
        glance(reel, Choice(days=(datetime.date(2020, 1, 1),)))
    for path in (reel.folder / "originals" / "000000").iterdir():
        path.unlink()
    with pytest.raises(RollError, match="no original is left"):
        glance(reel, original=True)
