"""What the page changes: who may, and what comes of it."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair import durable
from pleinair.errors import OptionError
from pleinair.images import decode_image
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Settings
from pleinair.rolls.status import read_status
from pleinair.serving import changes, easel, permit
from pleinair.serving.deeds import DeedError, lock_holder
from pleinair.serving.easel import Canvas, Easel, Gallery
from pleinair.serving.permit import Permit, new_token, read_password
from pleinair.serving.server import Server
from pleinair.serving.site import page_of
from tests.rolls import HEIGHT, WIDTH, frames_of, look_of, write_coded
from tests.serving import ask, busy_status, make_roll, page_showing

SECRET = "k7pf-92ma-xq3d-hh4t"
RIGHT = {"Authorization": f"Bearer {SECRET}"}
CHANGING = ("/enter", "/roll/roof/start", "/roll/roof/stop", "/roll/roof/repaint", "/begin", "/photo")


def change(port: int, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, object]]:
    """What a request to change something is answered."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, data, _ = ask(port, path, "POST", {**RIGHT, **named}, body)
    return status, json.loads(data) if data.startswith(b"{") else {}


def wait_until(true: Callable[[], object], what: str) -> None:
    """Look again and again, for two minutes at most."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def served(tmp_path) -> Iterator[Server]:
    """The page of a roll, with a secret."""
    make_roll(tmp_path / "roof")
    with page_of(tmp_path, 0, secret=SECRET) as server:
        yield server


@pytest.fixture
def nothing_begins(monkeypatch) -> None:
    """Fail where a deed comes so far that it is done."""

    def begun(*_: object) -> str:
        raise AssertionError("it was done")

    monkeypatch.setattr(changes.Changes, "_do", begun)
    monkeypatch.setattr(changes.Changes, "_begin", begun)
    monkeypatch.setattr(changes.Changes, "_begin_roll", begun)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {SECRET}"}, 401),
        ({"Authorization": f"Bearer {SECRET}x"}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
    ],
    ids=str,
)
def test_who_may_change_nothing(served, nothing_begins, headers, status):
    for path in CHANGING:
        told, _ = change(served.port, path, b"x", **headers)
        assert told == status, path


def test_reading_changes_nothing_and_other_methods_are_refused(served, nothing_begins):
    for path in CHANGING:
        assert ask(served.port, path, headers=RIGHT)[0] in (404, 405), path
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        status, _, headers = ask(served.port, "/roll/roof/stop", method, RIGHT)
        assert status in (404, 405) and "Access-Control-Allow-Origin" not in headers


def test_read_only_and_the_page_of_a_run_change_nothing(tmp_path, nothing_begins):
    roll = make_roll(tmp_path / "roof")
    status = busy_status(roll)
    with page_of(tmp_path, 0) as reading, page_showing(roll, status) as running:
        for path in CHANGING:
            assert change(reading.port, path)[0] == 403
            assert change(running.port, path)[0] in (404, 405)
        for server in (reading, running):
            page = ask(server.port, "/")[1]
            for what in (b"data-post", b'id="token"', b'id="drop"', b'id="begin"'):
                assert what not in page, what


def test_the_page_itself_may(served):
    own = f"localhost:{served.port}"
    for headers in (
        {},
        {"Host": own, "Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"},
        {"Authorization": f"Bearer {SECRET.replace('k', '%6b')}"},
    ):
        assert change(served.port, "/enter", **headers)[0] == 200


def test_who_is_wrong_too_often_waits(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(permit.time, "monotonic", lambda: now[0])
    guard = Permit(SECRET)
    wrong, right = {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {SECRET}"}
    for _ in range(10):
        assert guard.refusal(wrong, "a") is not None
    refused = guard.refusal(right, "a")
    assert refused is not None and refused[0] == 429
    assert guard.refusal(right, "b") is None  # somebody else is not kept out
    now[0] = 61.0
    assert guard.refusal(right, "a") is None
    for number in range(3000):
        guard.refusal(wrong, str(number))
    assert len(guard._wrong) <= 1000


def test_tokens_and_passwords(tmp_path):
    assert len({new_token() for _ in range(100)}) == 100 and len(new_token()) == 19
    file = tmp_path / "password"
    file.write_text("rather long\nand more\n")
    file.chmod(0o644)
    with pytest.raises(OptionError, match="others can read it; chmod 600"):
        read_password(file)
    file.chmod(0o600)
    assert read_password(file) == "rather long"
    for content, problem in ((b"short", "8 to 1000 characters"), (b"\xff" * 20, "no UTF-8"), (b"", "8 to 1000")):
        file.write_bytes(content)
        with pytest.raises(OptionError, match=problem):
            read_password(file)
    with pytest.raises(OptionError, match="No such file"):
        read_password(tmp_path / "none")


def test_bodies_are_bounded(served, monkeypatch):
    assert change(served.port, "/roll/roof/repaint", b"x" * 4001)[0] == 413
    monkeypatch.setattr(changes, "LARGEST_PHOTO", 1000)
    assert change(served.port, "/photo", b"x" * 1001)[0] == 413
    status, told = change(served.port, "/photo", b"no picture")
    assert status == 422 and "of yours" in str(told["said"])


def test_what_there_is_not(served):
    assert change(served.port, "/roll/other/stop")[0] == 404
    assert change(served.port, "/roll/roof/other")[0] == 404
    for style in (b"other", b"../roof", b"--out=/tmp/x", b"", b"\xff"):
        assert change(served.port, "/roll/roof/repaint", style) == (409, {"said": "There is no such style."})
    assert change(served.port, "/roll/roof/stop") == (409, {"said": "No process has this roll."})


def test_a_roll_goes_on_stops_and_is_repainted(tmp_path, plain_styles):
    roll = tmp_path / "roof"
    source = {"camera": f"frames:{write_coded(tmp_path / 'frames', 500)}", "size": (WIDTH, HEIGHT), "every": 0.2}
    look = look_of(plain_styles)
    Roll.create(roll, Settings(look=look, spool="png", keep_free=0, backend="reference", **source)).close()
    with page_of(tmp_path, 0, secret=SECRET) as served:
        assert b"Start filming" in ask(served.port, "/")[1]
        assert change(served.port, "/roll/roof/start") == (200, {"said": "It starts."})
        wait_until(lambda: read_status(roll).frames > 2, "it does not film")
        assert change(served.port, "/roll/roof/start")[0] == 409
        assert change(served.port, "/roll/roof/repaint", b"same")[0] == 409
        wait_until(lambda: b"Stop filming" in ask(served.port, "/")[1], "no button to stop it")
        status, told = change(served.port, "/roll/roof/stop")
        assert (status, told) == (200, {"said": "It ends when the frame at hand is kept."})
        wait_until(lambda: read_status(roll).state == "stopped", "it does not stop")
        wait_until(lambda: change(served.port, "/roll/roof/repaint", b"same")[0] == 200, "it is not repainted")
        wait_until(lambda: "same-8bit" in read_status(roll).paintings, "no such painting")
        wait_until(lambda: read_status(roll).state == "stopped", "it does not end")
        wait_until(lambda: b"Go on filming" in ask(served.port, "/")[1], "no button to go on")
        assert b"ended with status" not in ask(served.port, "/")[1]
    positions = [record["position"] for record in frames_of(roll)]
    assert positions == list(range(len(positions)))


NEW = {"name": "sky", "camera": "synthetic", "style": "plain", "every": "2h"}


def begin(served: Server, **changed: object) -> tuple[int, dict[str, object]]:
    """What a new roll is answered."""
    return change(served.port, "/begin", json.dumps({**NEW, **changed}).encode())


def test_a_roll_begins(served, tmp_path, plain_styles):
    form = ask(served.port, "/")[1].decode().partition('id="begin"')[2].partition("</form>")[0]
    assert re.findall(r"<option>(.*?)</option>", form) == ["plain", "same"]
    assert begin(served) == (200, {"said": "sky has begun.", "roll": "/roll/sky/"})
    assert ask(served.port, "/roll/sky/")[0] == 200
    wait_until(lambda: read_status(tmp_path / "sky").state == "complete", "it does not end")
    status = read_status(tmp_path / "sky")
    assert (status.camera, status.frames, status.look) == ("synthetic", 12, "plain-8bit")
    assert begin(served) == (409, {"said": "There is something called sky already."})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ""}, "A roll's name has"),
        ({"name": "../sky"}, "A roll's name has"),
        ({"name": "/tmp/sky"}, "A roll's name has"),
        ({"name": ".sky"}, "A roll's name has"),
        ({"name": "--help"}, "A roll's name has"),
        ({"name": "s" * 61}, "A roll's name has"),
        ({"name": "roof"}, "There is something called roof already."),
        ({"name": "link"}, "There is something called link already."),
        ({"camera": "frames:/etc"}, "from the command line"),
        ({"camera": "video:/etc/passwd"}, "from the command line"),
        ({"camera": "file:///etc/passwd"}, "write rtsp://, http://"),
        ({"camera": "--help"}, "choose from"),
        ({"style": "other"}, "There is no such style."),
        ({"style": "--help"}, "There is no such style."),
        ({"every": "soon"}, "run ended with status 2: pleinair: --every 'soon'"),
        ({"every": "2h --keep=none"}, "run ended with status 2: pleinair: --every '2h --keep=none'"),
        ({"camera": "v4l2:77"}, "run ended with status 2: pleinair: camera v4l2:77"),
        (
            {"camera": "http://me:secret@127.0.0.1:9/x"},
            "run ended with status 2: pleinair: camera http://127.0.0.1:9: Connection",
        ),
    ],
    ids=str,
)
def test_what_does_not_begin_a_roll(served, tmp_path, plain_styles, changed, said):
    (tmp_path / "link").symlink_to("nowhere")
    there = sorted(path.name for path in tmp_path.iterdir())
    status, told = begin(served, **changed)
    assert status == 409 and said in str(told["said"]) and "secret" not in str(told)
    assert sorted(path.name for path in tmp_path.iterdir()) == there


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"{}", b'{"name": 1}'], ids=str)
def test_a_new_roll_that_is_none(served, body):
    assert change(served.port, "/begin", body)[0] == 400


def test_new_rolls_are_written_as_lines_of_text(served, plain_styles):
    for text in ("a\0b", "a\nb", "\ud800"):
        assert begin(served, camera=text)[0] == 400
    assert change(served.port, "/begin", b"x" * 4001)[0] == 413


def test_no_roll_begins_in_a_roll(tmp_path, plain_styles):
    roll = make_roll(tmp_path / "roof")
    with page_of(roll, 0, secret=SECRET) as served:
        assert b'id="begin"' not in ask(served.port, "/")[1]
        status, told = begin(served)
        assert status == 409 and "is a roll itself" in str(told["said"]) and not (roll / "sky").exists()


def test_what_could_not_be_started_is_told(tmp_path):
    make_roll(tmp_path / "roof", camera="frames:/nowhere")
    with page_of(tmp_path, 0, secret=SECRET) as served:
        assert change(served.port, "/roll/roof/start")[0] == 200
        wait_until(lambda: b"resume ended with status 2: pleinair:" in ask(served.port, "/")[1], "nothing is told")


def test_only_who_holds_the_lock_is_stopped(tmp_path):
    roll = make_roll(tmp_path / "roof")
    (roll / "lock").write_text("1\n")
    with pytest.raises(DeedError, match="No process has"):
        lock_holder(roll)
    with Roll.open(roll):  # held by this process, which is not to be ended; and by one that is not there
        with pytest.raises(DeedError, match="cannot be told"):
            lock_holder(roll)
        for written in (str(os.getppid()), "999999999", "-1", "x", ""):
            (roll / "lock").write_text(written)
            with pytest.raises(DeedError, match="cannot be told"):
                lock_holder(roll)


def photo(number: int = 120) -> bytes:
    """A photo of one grey, as a PNG."""
    return cv2.imencode(".png", np.full((90, 120, 3), number, np.uint8))[1].tobytes()


def test_a_photo_in_every_style(served, plain_styles):
    status, told = change(served.port, "/photo", photo())
    assert status == 200
    address = str(told["photo"])

    def state() -> dict[str, object]:
        return json.loads(ask(served.port, address)[1])  # type: ignore[no-any-return]

    wait_until(lambda: state()["done"], "it is not painted")
    assert state() == {"ready": ["plain", "same"], "problems": {}, "of": 2, "done": True}
    status, data, _ = ask(served.port, f"{address}/same.jpg")
    assert status == 200 and decode_image(data, "same").mean() == pytest.approx(120, abs=2)
    for path in ("/photo/0000000000000000", f"{address}/other.jpg", f"{address}/..%2fplain.jpg"):
        assert ask(served.port, path)[0] == 404


def test_one_photo_at_a_time(plain_styles):
    easel = Easel()
    with easel._busy:
        assert easel.begin(np.zeros((9, 9, 3), np.uint8)) is None
    easel.close()
    canvas = easel.begin(np.zeros((9, 9, 3), np.uint8))
    assert canvas is not None
    wait_until(lambda: canvas.done, "it goes on after the end")
    assert canvas.problems == {"plain": "it was not painted", "same": "it was not painted"}


def test_a_photo_does_not_wait_for_the_pictures_of_styles(plain_styles, monkeypatch):
    easel = Easel()
    begun, over = threading.Event(), threading.Event()

    def fill(canvas: Canvas, picture: np.ndarray, painted: object) -> None:
        if canvas.key == "":  # of styles: until it is ended
            begun.set()
            canvas.interrupted = over.wait(60)

    monkeypatch.setattr(easel, "_fill", fill)
    monkeypatch.setattr(easel, "_end", over.set)
    gallery = Gallery(easel)
    gallery.cards()
    assert begun.wait(60)
    canvas = easel.begin(np.zeros((9, 9, 3), np.uint8))
    assert canvas is not None and over.is_set() and not gallery._failed


def test_styles_show_themselves_and_are_remembered(plain_styles):
    gallery = Gallery(Easel())
    assert [(card.name, card.title, card.thumbnail) for card in gallery.cards()] == [
        ("plain", "Random integers", False),
        ("same", "Random integers", False),
    ]
    wait_until(lambda: all(card.thumbnail for card in gallery.cards()), "no pictures")
    picture = gallery.picture("same")
    assert picture is not None and decode_image(picture, "same").shape == (200, 300, 3)
    again = Gallery(Easel())
    assert all(card.thumbnail for card in again.cards()) and again.picture("same") == picture
    assert again.picture("other") is None
    for file in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.jpg"):
        file.write_bytes(b"damaged")
    assert not any(card.thumbnail for card in Gallery(Easel()).cards())


def test_a_card_is_read_again_when_it_is_another_one(plain_styles, monkeypatch):
    gallery, read = Gallery(Easel()), list[str]()
    real = easel.read_card
    monkeypatch.setattr(easel, "read_card", lambda folder: (read.append(folder.name), real(folder))[1])
    monkeypatch.setattr(Gallery, "_paint", lambda *_: None)

    def titles() -> list[str]:
        return [card.title for card in gallery.cards()]

    assert titles() == titles() == ["Random integers"] * 2 and read == ["plain", "same"]
    card = plain_styles / "same" / "card.json"
    whole = card.read_text()
    card.write_text(whole.replace("Random integers", "Other integers"))
    assert titles() == ["Random integers", "Other integers"] and read == ["plain", "same", "same"]
    card.write_text("{")
    assert titles() == titles() == ["Random integers"] and len(read) == 4
    durable.write_file(card, whole.encode(), durable=False)
    assert titles() == ["Random integers"] * 2
    card.unlink()
    assert titles() == ["Random integers"] and len(read) == 5
