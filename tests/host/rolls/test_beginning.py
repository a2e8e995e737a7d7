"""Beginning and resuming a roll from Python: what is written, what is refused before anything is."""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import pleinair
from pleinair.cameras.camera import Frame
from pleinair.cameras.framing import Framing
from pleinair.errors import CameraError, PleinairError, RollError
from pleinair.network.integer import Convolution, IntegerNetwork, dump, validate
from pleinair.rolls.beginning import begin_painting, begin_roll, open_roll
from pleinair.rolls.finish import finish, paint_all
from pleinair.rolls.resuming import resume_roll
from pleinair.rolls.segments import find_segments
from pleinair.rolls.status import read_status
from tests.models import write_model
from tests.rolls import Still, film_codes, frames_of, identity_network, write_coded


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working folder: 12 frames, and the style ``plain`` that changes nothing."""
    write_coded(tmp_path / "frames", 12)
    write_model(tmp_path / "models" / "plain", identity_network(), margin=0, grain=0)
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLAIN = {"style": "plain", "backend": "reference", "keep_free": 0, "steady": 0}


def test_a_roll_in_three_lines(place):
    with begin_roll("roof", camera="frames:frames", **PLAIN) as lapse:
        assert lapse.run() == "complete"
        assert finish(lapse.roll, lapse.roll.settings.look, place / "roof.mp4") == 12
    assert film_codes(place / "roof.mp4") == list(range(12))
    assert read_status(place / "roof").painted == 12


def test_a_live_camera_is_asked_and_framed(place):
    asked = place / "asked"
    drivers = {"pi": open_still}
    with begin_roll(
        "roof",
        "pi:1",
        frames=3,
        every=0.05,
        size=(48, 64),
        framing=Framing(90),
        notify_cmd="true",
        drivers=drivers,
        **PLAIN,
    ) as lapse:
        assert lapse.run() == "complete"
        settings = lapse.roll.settings
    # Turned afterwards, so asked for on its side.
    assert asked.read_text() == "1 (64, 48) 0.05"
    assert (settings.ask, settings.size, settings.rotate, settings.notify) == ((64, 48), (48, 64), 90, "true")
    assert settings.look.deflicker == 16
    assert len(frames_of(place / "roof")) == 3


def open_still(number: int, size: tuple[int, int] | None, every: float) -> Still:
    """For the camera's process, which shares the working folder."""
    Path("asked").write_text(f"{number} {size} {every}")
    return Still()


class Blind(Still):
    """A camera that opens and gives no frame."""

    def shoot(self) -> Frame | None:
        return None


def open_blind(number: int, size: tuple[int, int] | None, every: float) -> Blind:
    """For the camera's process."""
    return Blind()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"camera": "clouds"}, "^camera 'clouds': choose from"),
        ({"camera": "frames:none"}, "^camera frames:.*none: No such file"),
        ({"camera": "pi:0", "drivers": {"pi": open_blind}}, "^camera pi:0: gives no frame"),
        ({"style": "nobody"}, "^style 'nobody': unknown"),
        ({"bits": 4}, "^bits 4: style plain has 8"),
        ({"backend": "gpu"}, "backend 'gpu'"),
        ({"keep": "all"}, "^keep 'all': choose from originals, painted, none"),
        ({"spool": "gif"}, "^spool 'gif': choose from jpg, png"),
        ({"start": "26:00"}, "^start '26:00': write a time of day"),
        ({"daylight": "north"}, "^daylight 'north'"),
        ({"notify_cmd": "'"}, "^notify_cmd"),
        ({"out": "film.avi"}, "^out film.avi: a film ends in"),
        ({"camera": "synthetic:1", "daily": True}, "^daily synthetic:1: its frames have no dates"),
        ({"camera": "video:frames/a.mp4", "daily": True}, "^daily video:.*a.mp4: its frames have no dates"),
        ({"framing": Framing(crop=(100, 100, 0, 0))}, "^crop '100x100[+]0[+]0': reaches outside the camera's 64x48"),
        ({"folder": "frames"}, "^roll frames: there is something already; name a new folder"),
        ({"folder": "no/where"}, "^roll no/where: the folder .* does not exist"),
    ],
)
def test_what_is_refused_before_anything_is_written(place, wrong, said):
    before = threading.active_count()
    values = {"folder": "roof", "camera": "frames:frames", **PLAIN, **wrong}
    with pytest.raises(PleinairError, match=said):
        begin_roll(values.pop("folder"), **values)
    assert sorted(os.listdir(place)) == ["frames", "models"]
    # The thread of a timer that was cancelled takes a moment to end.
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_roll_goes_on_where_it_stopped(place):
    stop = threading.Event()
    with begin_roll("roof", "frames:frames", every=0.05, **PLAIN) as lapse:
        state = lapse.run(stop, report=lambda status: stop.set() if status.frames >= 4 else None)
    assert state == "stopped" and read_status(place / "roof").state == "stopped"
    with open_roll("roof") as roll:
        lapse = resume_roll(roll, preview_host="localhost")
        assert lapse is not None and lapse.roll.settings.preview_host == "localhost"
        assert lapse.run() == "complete"
    assert [record["position"] for record in frames_of(place / "roof")] == list(range(12))
    with pytest.raises(RollError, match="no roll there"):
        open_roll(place)


def test_what_was_captured_to_the_end_needs_no_camera(place):
    with begin_roll("roof", "frames:frames", out="roof.mp4", **PLAIN) as lapse:
        lapse.run()
    shutil.rmtree(place / "frames")
    with open_roll("roof") as roll:
        assert resume_roll(roll) is None
    write_coded(place / "frames", 12)
    stop = threading.Event()
    with begin_roll("garden", "frames:frames", every=0.05, out="garden.mp4", **PLAIN) as lapse:
        lapse.run(stop, report=lambda status: stop.set() if status.frames >= 4 else None)
    shutil.rmtree(place / "frames")
    with open_roll("garden") as roll, pytest.raises(CameraError, match="No such file"):
        resume_roll(roll)


def test_another_painting_of_the_same_originals(place):
    write_model(place / "models" / "other", identity_network(), margin=0, grain=0)
    with begin_roll("roof", "frames:frames", **{**PLAIN, "steady": 3}) as lapse:
        lapse.run()
        roll = lapse.roll
        look = begin_painting(roll, "other", backend="reference", deflicker=5)
        assert (look.style, look.steady, look.deflicker, look.fps) == ("other", 3, 5, 24)
        done = list[tuple[int, int]]()
        paint_all(roll, look, report=lambda count, total: done.append((count, total)))
        assert done == [(n, 12) for n in range(1, 13)]
        assert [(s.first, s.last) for s in find_segments(place / "roof/paintings/other-8bit")] == [(0, 11)]
        assert list(roll.paintings()) == ["plain-8bit", "other-8bit"]
        assert roll.find_painting("other").name == "other-8bit" and roll.find_painting().name == "plain-8bit"
        with pytest.raises(PleinairError, match="has the paintings plain-8bit, other-8bit"):
            roll.find_painting("other", 4)
        with pytest.raises(RollError, match="painting other-8bit exists with other settings"):
            begin_painting(roll, "other", backend="reference", steady=1)
        assert begin_painting(roll, "other", backend="reference", deflicker=5) == look


def test_two_styles_of_one_folder_name_are_kept_apart(place):
    own, other = identity_network(), negative_network()
    write_model(place / "models" / "plain", own, margin=0, grain=0)
    (place / "garage").mkdir()
    write_model(place / "garage" / "plain", other, margin=0, grain=0)
    called = f"plain-{hashlib.sha256(dump(other)).hexdigest()[:8]}"
    with begin_roll("roof", "frames:frames", spool="png", **PLAIN) as lapse:
        lapse.run()
        look = begin_painting(lapse.roll, "garage/plain", backend="reference")
        assert (look.called, look.name) == (called, f"{called}-8bit")
        finish(lapse.roll, look, place / "garage.mp4")
        assert begin_painting(lapse.roll, str(place / "garage/plain"), backend="reference") == look
    with open_roll("roof") as roll:
        assert roll.mended == [] and list(roll.paintings().values()) == [roll.settings.look, look]
        assert roll.find_painting("plain") == roll.settings.look
        assert roll.find_painting(called) == roll.find_painting(str(place / "garage/plain")) == look
        finish(roll, roll.settings.look, place / "own.mp4")
    assert film_codes(place / "own.mp4") == list(range(12))
    # The other style paints light as dark, and so all 16 bits of a frame's number.
    assert film_codes(place / "garage.mp4") == [number ^ 0xFFFF for number in range(12)]


def negative_network() -> IntegerNetwork:
    """One convolution that gives 255 less what it takes."""
    (only,) = identity_network().layers
    assert isinstance(only, Convolution)
    return validate(IntegerNetwork(8, (replace(only, weight=-only.weight, bias=only.bias + 255 * 64),)))


def test_the_style_is_the_one_of_every_other_call():
    default = inspect.signature(begin_roll).parameters["style"].default
    assert default == pleinair.DEFAULT_STYLE == inspect.signature(pleinair.paint).parameters["style"].default
