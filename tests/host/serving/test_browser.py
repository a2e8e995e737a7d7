"""The page in a browser: headless Chromium, on a phone and a desktop, light and dark, in every state."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from pleinair.rolls.status import Status
from tests.serving import busy_status, make_roll, page_showing, status_in

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")


def browse(place: Path, address: str, *flags: str) -> str:
    """What headless Chromium prints of a page once it has had some seconds of its own time."""
    assert BROWSER is not None
    always = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
    command = [BROWSER, *always, f"--user-data-dir={place / 'browser'}", *flags, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


def text_of(dom: str) -> str:
    """The words of a page's middle."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", dom.partition("<main>")[2]))


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)], ids=["desktop", "phone"])
def test_the_page_in_a_browser(tmp_path, width, dark):
    roll = make_roll(tmp_path / "roof")
    status = busy_status(roll)
    shot = tmp_path / "page.png"
    dom = ""
    with page_showing(roll, status) as served:
        flags = [f"--window-size={width},1300", f"--screenshot={shot}"]
        if dark:
            flags.append("--blink-settings=preferredColorScheme=0")
        dom = browse(tmp_path, served.address, "--dump-dom")
        browse(tmp_path, served.address, *flags)
    text = text_of(dom)
    for told in ("running", "roof", "still, 64x48", "1,234", "34 to come", "3 late", "71 °C", "number 2", "5.5 GB"):
        assert told in text, told
    assert "&lt;b&gt;hung&lt;/b&gt; &amp; so on" in dom and "<b>hung" not in dom
    assert 'class="script"' in dom  # the page's own script ran
    picture = cv2.imread(str(shot))[..., ::-1].astype(int)
    assert picture.shape[1] == width
    assert (picture[-1, 2].mean() < 60) == dark
    # The slider stands in the middle: left of it the original's blocks, right of it the painting's plain grey.
    wide = min(1080, width) - 32
    edge = max(0, (width - 1080) // 2) + 16
    rows = slice(240, 240 + wide // 4)
    right = picture[rows, edge + wide * 3 // 4]
    assert right.std() < 3 and abs(right.mean() - 200) < 4
    assert (picture[rows, edge + 30 : edge + wide // 2 - 60] < 80).any()


def test_every_state_in_a_browser(tmp_path):
    roll = make_roll(tmp_path / "roof")
    plain = status_in(roll)
    states: list[tuple[Status, str]] = [
        (replace(plain, state="new", frames=0), "not begun"),
        (replace(plain, state="running", camera_failures=3), "waiting for the camera"),
        (replace(plain, state="asleep", due=1.8e9), "asleep until 20"),
        (replace(plain, state="stopped"), "stopped"),
        (replace(plain, state="complete"), "finished"),
    ]
    for status, word in states:
        # A page of its own for each: what a page was told stands for some seconds.
        with page_showing(roll, status) as served:
            assert word in text_of(browse(tmp_path, served.address, "--dump-dom"))
