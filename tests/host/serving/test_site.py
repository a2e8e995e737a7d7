"""What the page answers: rolls, pictures of the same frame, films and their ranges, and nothing else."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.images import decode_image
from pleinair.rolls.originals import number_in, original_path
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look
from pleinair.serving import site
from pleinair.serving.pictures import SIDE, SMALL
from pleinair.serving.site import page_of
from tests.rolls import coded_frame, read_code
from tests.serving import WALL, ask, busy_status, get, make_roll, page_showing, write_painting


def main(page: bytes) -> str:
    """What stands in a page's middle."""
    return page.decode().partition("<main>")[2]


def shown(port: int, which: str, tag: str, roll: str = "roof") -> np.ndarray:
    """A picture of a pair."""
    status, data = get(port, f"/roll/{roll}/shown/plain-8bit/{tag}-{which}.jpg")
    assert status == 200
    return decode_image(data, which)


def test_the_page_of_one_roll(tmp_path):
    roll = make_roll(tmp_path / "roof")
    status = busy_status(roll)
    with page_showing(roll, status) as served:
        assert served.address == f"http://localhost:{served.port}/"
        page = get(served.port, "/")[1]
        assert page.startswith(b"<!doctype html>")
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", main(page)))
        for told in ("roof", "running .", "1,234", "1,200", "34 to come", "3 late", "71 °C", "number 2", "5.5 GB"):
            assert told.replace(" .", "") in text, told
        assert "&lt;b&gt;hung&lt;/b&gt; &amp; so on" in main(page)
        assert get(served.port, "/live")[1].decode() in page.decode()
        state = json.loads(get(served.port, "/state.json")[1])
        assert state == json.loads(json.dumps({**status.to_json(), "roll": "roof"}))
        assert json.loads(get(served.port, "/roll/roof/state.json")[1]) == state
        for path in ("/roll.json", "/../roll.json", "/roll/roof/roll.json", "/views.py", "/roll/other/", "/page.py"):
            assert get(served.port, path)[0] == 404, path


def test_original_and_painting_are_of_the_same_frame(tmp_path):
    roll = make_roll(tmp_path / "roof", frames=5, painted=1)
    with page_of(tmp_path, 0) as served:
        page = main(get(served.port, "/")[1])
        assert "Frame 1, taken" in page and 'data-tag="00000001"' in page
        assert read_code(shown(served.port, "original", "00000001")) == 1
        assert shown(served.port, "painting", "00000001").mean() == pytest.approx(200, abs=2)
        write_painting(roll, 3, grey=90)
        assert shown(served.port, "painting", "00000003").mean() == pytest.approx(90, abs=2)
        assert read_code(shown(served.port, "original", "00000003")) == 3
        # What a browser was told of before is still there for it.
        assert shown(served.port, "painting", "00000001").mean() == pytest.approx(200, abs=2)
        assert get(served.port, "/roll/roof/shown/plain-8bit/00000002-painting.jpg")[0] == 404


def test_full_sizes_are_the_files(tmp_path):
    roll = make_roll(tmp_path / "roof", frames=5, painted=4)
    with page_of(tmp_path, 0) as served:
        status, data, headers = ask(served.port, "/roll/roof/original/3")
        assert status == 200 and data == original_path(roll / "originals", 3, "jpg").read_bytes()
        assert headers["Content-Disposition"] == 'inline; filename="roof-00000003.jpg"'
        status, data, headers = ask(served.port, "/roll/roof/painting/plain-8bit/00000004")
        assert status == 200 and number_in(data) == 4 and headers["Content-Type"] == "image/jpeg"
        status, _, headers = ask(served.port, "/roll/roof/painting/plain-8bit/00000003")
        assert status == 303 and headers["Location"] == "00000004"
        for path in ("original/5", "original/99999999999", "original/-1", "painting/other-8bit/00000004"):
            assert get(served.port, f"/roll/roof/{path}")[0] == 404


def test_without_painting_without_original_and_without_anything(tmp_path):
    make_roll(tmp_path / "new", frames=0, painted=None)
    make_roll(tmp_path / "unpainted", frames=2, painted=None)
    deleted = make_roll(tmp_path / "deleted", frames=2, painted=0)
    original_path(deleted / "originals", 0, "jpg").unlink()
    old = make_roll(tmp_path / "old", frames=2, painted=None)
    write_painting(old, None)
    with page_of(tmp_path, 0) as served:
        told = {name: main(get(served.port, f"/roll/{name}/")[1]) for name in ("new", "unpainted", "deleted", "old")}
        assert "No frame yet." in told["new"]
        assert "Nothing is painted yet." in told["unpainted"] and "Frame 1" in told["unpainted"]
        assert "was deleted to make room" in told["deleted"] and "Frame 0" in told["deleted"]
        assert "does not say of which frame it is" in told["old"]
        tag = re.search(r'data-tag="(m[0-9]+)"', told["old"])
        assert tag is not None and read_code(shown(served.port, "original", tag[1], "old")) == 1
        assert read_code(shown(served.port, "small", "00000001", "unpainted")) == 1


def test_large_pictures_are_shrunk(tmp_path):
    roll = make_roll(tmp_path / "roof", frames=2, painted=1)
    path = write_painting(roll, 1, size=(4000, 1000))
    with page_of(tmp_path, 0) as served:
        assert shown(served.port, "painting", "00000001").shape == (SIDE // 4, SIDE, 3)
        assert shown(served.port, "small", "00000001").shape == (SMALL // 4, SMALL, 3)
    path.unlink()
    with page_of(tmp_path, 0) as served:
        assert get(served.port, "/roll/roof/shown/plain-8bit/00000001-painting.jpg")[0] == 404


def test_a_torn_painting_is_none(tmp_path):
    roll = make_roll(tmp_path / "roof", frames=2, painted=1)
    path = roll / "paintings" / "plain-8bit" / "latest.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with page_of(tmp_path, 0) as served:
        assert "Nothing is painted yet" in main(get(served.port, "/")[1])


def test_days_and_their_ranges(tmp_path):
    roll = make_roll(tmp_path / "roof")
    films = roll / "films"
    films.mkdir()
    names = [f"2026-11-25-{what}.png" for what in ("strip", "sheet", "brightness")]
    for name in names:
        (films / name).write_bytes(name.encode())
    film = bytes(range(256)) * 1000
    (films / "2026-11-25.mp4").write_bytes(film)
    with page_of(tmp_path, 0) as served:
        page = main(get(served.port, "/")[1])
        assert "Film of 2026-11-25" in page and 'src="/roll/roof/days/2026-11-25.mp4"' in page
        for name in names:
            assert get(served.port, f"/roll/roof/days/{name}") == (200, name.encode())
        address = "/roll/roof/days/2026-11-25.mp4"
        status, body, headers = ask(served.port, address)
        assert (status, body, headers["Accept-Ranges"]) == (200, film, "bytes")
        for asked, part in (("100-199", film[100:200]), ("255900-", film[255900:]), ("-10", film[-10:])):
            status, body, headers = ask(served.port, address, headers={"Range": f"bytes={asked}"})
            assert (status, body) == (206, part)
            assert headers["Content-Range"].endswith(f"/{len(film)}")
        assert ask(served.port, address, headers={"Range": "bytes=999999-"})[0] == 416
        assert ask(served.port, address, "HEAD")[1] == b""


def test_no_path_leads_out_of_a_roll(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "2026-11-23.mp4").write_bytes(b"secret")
    rolls = tmp_path / "rolls"
    rolls.mkdir()
    roll = make_roll(rolls / "roof")
    (roll / "films").mkdir()
    with page_of(rolls, 0) as served:
        for name in (
            "2026-11-23.mp4",
            "2026-11-23-strip.png",
            "../journal.jsonl",
            "..%2fjournal.jsonl",
            "%2e%2e/%2e%2e/secret.png",
            "..%2f..%2f..%2fsecret.png",
            "2026-11-23-strip.png/..",
            "2026-11-23-strip.png%00.png",
            "2026-11-23%0a.mp4",
        ):
            assert get(served.port, f"/roll/roof/days/{name}")[0] == 404, name
        for key in ("..", "%2e%2e", ".", "..%2f..", "%2fetc", "roof%2f..", "roof%00"):
            for rest in ("", "state.json", "original/0", "days/2026-11-23.mp4"):
                status, body = get(served.port, f"/roll/{key}/{rest}")
                assert status in (303, 307, 404) and b"secret" not in body, (key, rest)
        for painting in ("..", "%2e%2e", "..%2f..", "plain-8bit%2f..", "%2fetc"):
            assert get(served.port, f"/roll/roof/painting/{painting}/00000001")[0] == 404
            assert get(served.port, f"/roll/roof/shown/{painting}/00000001-painting.jpg")[0] == 404


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_ordinary_file_is_not_served(tmp_path, kind):
    (tmp_path / "secret").write_bytes(b"secret")
    rolls = tmp_path / "rolls"
    rolls.mkdir()
    roll = make_roll(rolls / "roof", frames=2, painted=None)
    (roll / "films").mkdir()
    places = {
        "days/2026-11-24-strip.png": roll / "films" / "2026-11-24-strip.png",
        "days/2026-11-24.mp4": roll / "films" / "2026-11-24.mp4",
        "original/7": original_path(roll / "originals", 7, "jpg"),
        "painting/plain-8bit/00000001": roll / "paintings" / "plain-8bit" / "latest.jpg",
    }
    with page_of(rolls, 0) as served:
        assert get(served.port, "/")[0] == 200
        for path in places.values():  # planted after the roll was looked at
            if kind == "link":
                path.symlink_to(tmp_path / "secret")
            elif kind == "fifo":
                os.mkfifo(path)
            else:
                path.mkdir()
        for address in places:
            status, body = get(served.port, f"/roll/roof/{address}")
            assert status == 404 and b"secret" not in body, address


def test_all_rolls_under_a_folder(tmp_path):
    make_roll(tmp_path / "roof", frames=3)
    make_roll(tmp_path / "garden", frames=2, painted=None)
    (tmp_path / "inner").mkdir()
    make_roll(tmp_path / "inner" / "a <b> & ü", frames=4)
    (tmp_path / ".hidden").mkdir()
    make_roll(tmp_path / ".hidden" / "roll")
    linked = make_roll(tmp_path / "strange")
    (linked / "state.json").symlink_to("/etc/passwd")
    waiting = make_roll(tmp_path / "waiting")
    (waiting / "lock").unlink(missing_ok=True)
    os.mkfifo(waiting / "lock")
    (tmp_path / "away").symlink_to(tmp_path / "roof")
    (tmp_path / "nothing").mkdir()
    with page_of(tmp_path, 0) as served:
        page = main(get(served.port, "/")[1])
        assert re.findall(r"<h2>(.*?)</h2>", page) == [
            "garden",
            "inner/a &lt;b&gt; &amp; ü",
            "roof",
            "strange",
            "waiting",
        ]
        assert "state.json is a link" in page and "root:" not in page
        assert "lock is neither a file nor a folder" in page
        assert page.count('<a href="/roll/') == 3
        (key,) = re.findall(r'<a href="/roll/(inner[^/]*)/"', page)
        assert "a &lt;b&gt; &amp; ü" in main(get(served.port, f"/roll/{key}/")[1])
        assert json.loads(get(served.port, f"/roll/{key}/state.json")[1])["frames"] == 4
        assert get(served.port, "/roll/strange/")[0] == 404
        assert get(served.port, "/state.json")[0] == 404


def test_a_roll_that_grows_is_followed(tmp_path):
    roll = make_roll(tmp_path / "roof", frames=2)
    with page_of(tmp_path, 0) as served:
        assert json.loads(get(served.port, "/state.json")[1])["frames"] == 2
        with Roll.open(roll) as again:
            again.keep(coded_frame(2), Captured(t=2.0, wall=WALL + 2, live=True))
        frames = 2
        while frames == 2:  # what was told holds for a second
            frames = json.loads(get(served.port, "/state.json")[1])["frames"]
        assert frames == 3


def test_other_paintings_and_their_pictures(tmp_path):
    roll = make_roll(tmp_path / "roof", frames=3)
    with Roll.open(roll) as again:
        again.add_painting(Look("<other>", 8))
    path = roll / "paintings" / "<other>-8bit" / "latest.jpg"
    cv2.imwrite(str(path), np.full((48, 64, 3), 30, np.uint8))
    with page_of(tmp_path, 0) as served:
        page = main(get(served.port, "/?painting=%3Cother%3E-8bit")[1])
        assert "Painted as &lt;other&gt;-8bit" in page and "<other>" not in page
        (address,) = re.findall(r'src="(/roll/roof/shown/[^"]*-painting.jpg)"', page)
        assert decode_image(get(served.port, address)[1], "other").mean() == pytest.approx(30, abs=2)
        assert get(served.port, "/?painting=..")[0] == 404


def test_the_film_of_a_roll_is_played_where_it_lies_among_the_rolls(tmp_path):
    rolls = tmp_path / "rolls"
    rolls.mkdir()
    make_roll(rolls / "inside", out=str(rolls / "roof.mp4"))
    make_roll(rolls / "outside", out=str(tmp_path / "roof.mp4"))
    make_roll(rolls / "up", out=str(rolls / ".." / "roof.mp4"))
    make_roll(rolls / "other", out=str(rolls / "inside" / "roll.json"))
    (rolls / "roof.mp4").write_bytes(b"film")
    (tmp_path / "roof.mp4").write_bytes(b"secret")
    with page_of(rolls, 0) as served:
        assert get(served.port, "/roll/inside/film") == (200, b"film")
        for roll in ("outside", "up", "other"):
            assert get(served.port, f"/roll/{roll}/film")[0] == 404
            assert "The whole film" not in main(get(served.port, f"/roll/{roll}/")[1])


def test_what_the_page_is_made_of(tmp_path):
    with page_of(tmp_path, 0) as served:
        assert "No roll is in it yet." in main(get(served.port, "/")[1])
        manifest = json.loads(get(served.port, "/page.webmanifest")[1])
        for icon in manifest["icons"]:
            assert get(served.port, icon["src"])[0] == 200
        side = cv2.imdecode(np.frombuffer(get(served.port, "/icon-192.png")[1], np.uint8), 1).shape
        assert side == (192, 192, 3) and get(served.port, "/icon-9999.png")[0] == 404
        for name in ("page.css", "page.js", "favicon.ico"):
            assert get(served.port, f"/{name}")[0] == 200


def _light(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_text_stands_out():
    sheet = (Path(site.__file__).with_name("page") / "page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", scheme))
        for ground in ("paper", "card"):
            for text in ("ink", "soft", "link", "good", "warn", "bad"):
                light = sorted((_light(colours[ground]), _light(colours[text])))
                assert (light[1] + 0.05) / (light[0] + 0.05) >= 4.5, (ground, text)
