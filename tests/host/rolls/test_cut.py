"""Films cut from rolls: frames that carry their number show which ones a film holds."""

from __future__ import annotations

import atexit
import contextlib
import datetime
import functools
import hashlib
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import OptionError, RollError
from pleinair.films.choice import Choice
from pleinair.rolls.capture import Capture
from pleinair.rolls.cut import Cut, Reel, cut_film
from pleinair.rolls.finish import paint_all
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.segments import find_segments
from pleinair.rolls.settings import Look
from tests.clocks import HeldClock
from tests.films import read_video
from tests.rolls import HEIGHT, WIDTH, Still, coded_frame, film_codes, new_roll, open_plain, read_code

BEGUN = datetime.datetime(2026, 11, 24, 22)
EVERY = 600.0


@functools.cache
def _made(frames: int, begun: datetime.datetime, plan, settings: tuple) -> tuple[Path, Look]:
    """A roll that is made once and copied for each test: every frame of it is synced to the disk."""
    folder = Path(tempfile.mkdtemp(prefix="pleinair-")) / "roll"
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    roll = new_roll(folder, **{"every": EVERY, "frames": frames} | dict(settings))
    shooter = Still(plan)
    Capture(roll, shooter, Schedule(EVERY, clock=HeldClock(begun))).run(threading.Event())
    paint_all(roll, roll.settings.look, painter=open_plain)
    roll.close()
    return folder, roll.settings.look


def dated_roll(folder: Path, frames: int = 42, *, begun: datetime.datetime = BEGUN, plan=None, **settings) -> Reel:
    """A roll of a frame every ten minutes from 22:00 on, painted: frame 12 is the first one of the next day."""
    made, look = _made(frames, begun, plan, tuple(settings.items()))
    shutil.copytree(made, folder)
    return Reel(folder, look)


def cut(reel: Reel | list[Reel], out: Path, tags=None, **options):
    reels = reel if isinstance(reel, list) else [reel]
    return cut_film(reels, out, Cut(**options), tags=tags or {"title": "test"})


def test_a_film_of_everything_is_the_pieces_themselves(tmp_path):
    reel = dated_roll(tmp_path / "roll")
    made = cut(reel, tmp_path / "film.mp4")
    assert (made.frames, made.copied) == (42, 42)
    assert film_codes(tmp_path / "film.mp4") == list(range(42))
    pieces = [image for s in find_segments(reel.folder / reel.look.file()) for image in read_video(s.path)]
    for shown, own in zip(read_video(tmp_path / "film.mp4"), pieces, strict=True):
        assert np.array_equal(shown, own)


def test_a_day_copies_its_whole_pieces(tmp_path):
    reel = dated_roll(tmp_path / "roll")
    made = cut(reel, tmp_path / "film.mp4", choice=Choice(days=(datetime.date(2026, 11, 25),)))
    # Pieces are of ten frames: 12 to 19 are encoded anew, 20 to 41 copied.
    assert (made.frames, made.copied) == (30, 22)
    assert film_codes(tmp_path / "film.mp4") == list(range(12, 42))
    assert (made.first, made.last) == ("2026-11-25 00:00", "2026-11-25 04:50")
    assert made.size == (WIDTH, HEIGHT)


def test_a_film_has_the_length_that_was_asked_for(tmp_path):
    import av

    reel = dated_roll(tmp_path / "roll")
    made = cut(reel, tmp_path / "film.mp4", seconds=0.75, fps=12)
    assert made.frames == 9 and made.copied == 0
    assert film_codes(tmp_path / "film.mp4") == [round(41 * n / 8 - 1e-9) for n in range(9)]
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert float(container.streams.video[0].duration * container.streams.video[0].time_base) == pytest.approx(0.75)


def test_another_rate_copies_too(tmp_path):
    import av

    reel = dated_roll(tmp_path / "roll")
    made = cut(reel, tmp_path / "film.mp4", fps=6, choice=Choice(since="2026-11-24T22:50"))
    assert (made.frames, made.copied) == (37, 32)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].average_rate == 6


def test_neighbours_are_averaged(tmp_path):
    slope = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))[..., None].repeat(3, 2) // 4 - 13
    levels = lambda number: (slope + min(230, 40 + 4 * number)).astype(np.uint8)  # noqa: E731
    reel = dated_roll(tmp_path / "roll", plan=levels)
    cut(reel, tmp_path / "film.mp4", original=True, choice=Choice(nth=10, blend=5))
    # Frames 0, 10, 20 .. with their neighbours; at the beginning there are none before.
    means = [image.mean() for image in read_video(tmp_path / "film.mp4")]
    own = 40 + slope.mean()
    assert means == pytest.approx([own + 4, own + 40, own + 80, own + 120, own + 158], abs=1.5)


def test_originals_and_split_films(tmp_path):
    reel = dated_roll(tmp_path / "roll", look=Look("plain", 8, timestamp=True))
    made = cut(reel, tmp_path / "film.mp4", original=True)
    assert made.frames == 42 and film_codes(tmp_path / "film.mp4") == list(range(42))
    # Paintings have a stamp at their lower left, originals do not.
    originals, paintings = (
        read_video(tmp_path / "film.mp4"),
        read_video(find_segments(reel.folder / reel.look.file())[0].path),
    )
    foot = slice(HEIGHT - 10, HEIGHT), slice(0, WIDTH // 2)
    assert np.abs(originals[0][foot].astype(int) - coded_frame(0)[foot]).mean() < 6
    assert np.abs(paintings[0][foot].astype(int) - coded_frame(0)[foot]).mean() > 10
    cut(reel, tmp_path / "half.mp4", split="half")
    half = read_video(tmp_path / "half.mp4")
    assert half[0].shape == (HEIGHT, WIDTH, 3)
    assert np.abs(half[5][foot].astype(int) - coded_frame(5)[foot]).mean() < 8
    assert half[5][:, WIDTH // 2 - 1 : WIDTH // 2 + 1].min() > 200
    made = cut(reel, tmp_path / "beside.mp4", split="beside", choice=Choice(nth=20))
    assert made.size == (2 * WIDTH, HEIGHT)
    assert [read_code(image[:, WIDTH:]) for image in read_video(tmp_path / "beside.mp4")] == [0, 20, 40]


def test_a_split_film_shows_frames_whose_original_is_there(tmp_path):
    reel = dated_roll(tmp_path / "roll")
    for path in (reel.folder / "originals" / "000000").glob("0000001*.png"):
        path.unlink()
    made = cut(reel, tmp_path / "half.mp4", split="half")
    assert made.frames == 32
    for path in (reel.folder / "originals" / "000000").iterdir():
        path.unlink()
    with pytest.raises(RollError, match="no original is left"):
        cut(reel, tmp_path / "half.mp4", split="half")


def test_a_title_and_stamps(tmp_path):
    reel = dated_roll(tmp_path / "roll")
    made = cut(reel, tmp_path / "film.mp4", title="Roof")
    assert (made.frames, made.copied) == (42 + 3 * 24, 42)
    images = read_video(tmp_path / "film.mp4")
    assert images[0].mean() < 60 and images[0].max() > 150
    assert [read_code(image) for image in images[72:]] == list(range(42))
    made = cut(reel, tmp_path / "stamped.mp4", timestamp=True, size=(320, 240))
    assert made.copied == 0 and made.size == (320, 240)
    stamped = read_video(tmp_path / "stamped.mp4")
    assert stamped[0][-20:, :100].max() > 225 > stamped[0][:100, :100].max()


def test_rolls_are_joined(tmp_path):
    first = dated_roll(tmp_path / "a")
    second = dated_roll(tmp_path / "b", 23, begun=datetime.datetime(2026, 11, 27, 8))
    made = cut([first, second], tmp_path / "film.mp4")
    assert (made.frames, made.copied) == (65, 65)
    assert film_codes(tmp_path / "film.mp4") == [*range(42), *range(23)]
    assert (made.first, made.last) == ("2026-11-24 22:00", "2026-11-27 11:40")
    made = cut([first, second], tmp_path / "day.mp4", choice=Choice(days=(datetime.date(2026, 11, 27),)))
    assert made.frames == 23


def test_frames_that_are_in_no_piece_do_not_shift_the_others(tmp_path):
    dark = lambda number: coded_frame(number) // (60 if number in (13, 14) else 1)  # noqa: E731
    reel = dated_roll(tmp_path / "roll", plan=dark)
    day = Choice(days=(datetime.date(2026, 11, 25),))
    assert cut(reel, tmp_path / "film.mp4", choice=day).frames == len(film_codes(tmp_path / "film.mp4"))
    shown = film_codes(tmp_path / "film.mp4")
    assert shown[0] == 12 and shown == sorted(shown) and shown[-1] >= 40


def test_what_cannot_be_is_refused(tmp_path):
    reel = dated_roll(tmp_path / "roll", 5)
    with pytest.raises(OptionError, match="leave out --original"):
        cut(reel, tmp_path / "film.mp4", original=True, split="half")
    with pytest.raises(OptionError, match="--length or --every"):
        cut(reel, tmp_path / "film.mp4", seconds=1, choice=Choice(nth=3))
    with pytest.raises(OptionError, match="no frame of the days"):
        cut(reel, tmp_path / "film.mp4", choice=Choice(since="06:00", until="07:00"))
    assert list(tmp_path.glob("*.mp4")) == [] and list(tmp_path.glob(".*")) == []


def test_the_pieces_stay_as_they_are(tmp_path):
    reel = dated_roll(tmp_path / "roll")
    digest = lambda: {p: hashlib.sha256(p.read_bytes()).digest() for p in sorted(reel.folder.rglob("*")) if p.is_file()}  # noqa: E731
    before = digest()
    cut(reel, tmp_path / "film.mp4", seconds=1.0, choice=Choice(blend=3), title="Roof", timestamp=True)
    assert digest() == before
    with contextlib.closing(Roll.open(reel.folder)) as roll:
        assert roll.mended == []
