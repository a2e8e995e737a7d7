"""Segments: the same paintings give the same bytes; what is covered, joined, and left of a damaged one."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.errors import RollError
from pleinair.rolls.segments import Segment, SegmentRecorder, count_frames, find_segments, join, salvage, uncovered
from tests.films import frame_of, means, read_video

LEVELS = list(range(30, 150, 6))


def record(folder, first: int, levels: list[int], width: int = 64) -> Segment:
    """A segment with a frame for each level."""
    recorder = SegmentRecorder(folder, first, 24)
    for level in levels:
        recorder.add(frame_of(level, width))
    sealed = recorder.seal(first + len(levels) - 1)
    assert sealed is not None
    return sealed[0]


def test_the_same_paintings_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        record(tmp_path / name, 120, LEVELS)
    one, two = tmp_path / "one", tmp_path / "two"
    assert [p.name for p in one.iterdir()] == ["00000120-00000139.mkv"]
    assert (one / "00000120-00000139.mkv").read_bytes() == (two / "00000120-00000139.mkv").read_bytes()
    np.testing.assert_allclose(means(read_video(one / "00000120-00000139.mkv")), LEVELS, atol=2)


def test_nothing_is_left_of_an_empty_or_discarded_one(tmp_path):
    assert SegmentRecorder(tmp_path, 0, 24).seal(5) is None
    recorder = SegmentRecorder(tmp_path, 0, 24)
    recorder.add(frame_of(90))
    recorder.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_no_segment_holds(tmp_path):
    for name in ("00000000-00000009", "00000008-00000011", "00000020-00000029", "00000040-00000030", "notes"):
        (tmp_path / f"{name}.mkv").touch()
    segments = find_segments(tmp_path)
    assert [(s.first, s.last) for s in segments] == [(0, 9), (20, 29)]
    assert uncovered(segments, 0, 35) == [(10, 19), (30, 35)]
    assert uncovered(segments, 5, 8) == [] and uncovered(segments, 12, 15) == [(12, 15)]
    assert uncovered([], 3, 4) == [(3, 4)] and find_segments(tmp_path / "none") == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_joined_they_are_one_film(tmp_path, suffix):
    segments = [record(tmp_path, 0, LEVELS[:7]), record(tmp_path, 7, LEVELS[7:])]
    film = tmp_path / f"film{suffix}"
    assert join(segments, film, fps=24, tags={"title": "roof"}) == len(LEVELS)
    np.testing.assert_allclose(means(read_video(film)), LEVELS, atol=2)
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_joined(tmp_path):
    segments = [record(tmp_path, 0, LEVELS), record(tmp_path, 20, LEVELS, width=96)]
    with pytest.raises(RollError, match="encoded in another way"):
        join(segments, tmp_path / "film.mp4", fps=24, tags={})
    with pytest.raises(RollError, match="no frame is painted yet"):
        join([], tmp_path / "film.mp4", fps=24, tags={})
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))


def test_what_can_be_read_of_a_damaged_one_stays(tmp_path):
    segment = record(tmp_path, 0, LEVELS)
    assert count_frames(segment.path) == len(LEVELS)
    data = segment.path.read_bytes()
    segment.path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert count_frames(segment.path) != len(LEVELS)
    kept = salvage(segment, 24)
    assert 0 < kept < len(LEVELS) and count_frames(segment.path) == kept
    np.testing.assert_allclose(means(read_video(segment.path)), LEVELS[:kept], atol=2)
    segment.path.write_bytes(b"nothing")
    assert salvage(segment, 24) == 0 and not segment.path.exists()
    assert not list(tmp_path.glob("*.part"))
