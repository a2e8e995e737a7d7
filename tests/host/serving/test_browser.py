"""The page in headless Chromium, on a phone and a desktop, light and dark, in every state; looked at and clicked on."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.images import decode_image
from pleinair.rolls.records import Ended
from pleinair.rolls.roll import Roll
from pleinair.rolls.status import Status, read_status
from pleinair.serving.site import page_of
from tests.browser import CHROMIUM, FLAGS, Browser
from tests.serving import busy_status, make_roll, page_showing, status_in

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


def browse(place: Path, address: str, *flags: str) -> str:
    """What headless Chromium prints of a page once it has had some seconds of its own time."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, "--virtual-time-budget=5000", f"--user-data-dir={place / 'browser'}", *flags, address]
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


SECRET = "k7pf-92ma-xq3d-hh4t"


def enter(browser: Browser, secret: str) -> None:
    """Enter a token, as one types it."""
    browser.type("#token", secret)
    browser.click("#enter button")


def test_a_photo_is_dropped_and_seen_in_every_style(tmp_path, plain_styles):
    make_roll(tmp_path / "roof")
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.full((90, 120, 3), (40, 90, 160), np.uint8))
    with page_of(tmp_path, 0, secret=SECRET) as served, Browser(tmp_path) as browser:
        browser.open(served.address)
        assert "A photo in every style" not in browser.text()  # not before there is a token
        enter(browser, "wrong")
        browser.wait_for("document.getElementById('answer').innerText.startsWith('The token is not')")
        assert "A photo in every style" not in browser.text()
        enter(browser, SECRET)
        browser.wait_for("document.documentElement.classList.contains('may')")
        assert "A photo in every style" in browser.text()
        browser.drop("#drop", photo)
        browser.wait_for("document.querySelectorAll('#painted img').length === 3")
        browser.wait_for("[...document.querySelectorAll('#painted img')].every(i => i.complete && i.naturalWidth)")
        assert browser.text("#painted") == "your photo plain same"
        assert browser.text("#answer") == "Painted in 2 styles."
        # The styles change nothing: all three are seen in the photo's colour.
        picture = decode_image(browser.picture(whole=True), "the page").astype(int)
        for number in range(3):
            box = f"document.querySelectorAll('#painted img')[{number}].getBoundingClientRect()"
            left, top, width, height = browser.run(
                f"(b => [b.left + scrollX, b.top + scrollY, b.width, b.height])({box})"
            )
            seen = picture[round(top + 8) : round(top + height - 8), round(left + 8) : round(left + width - 8)]
            assert seen.size and np.abs(seen - (160, 90, 40)).max() < 6, number
        assert [fault for fault in browser.faults if "401" not in fault] == []


def test_a_roll_is_begun_from_the_page(tmp_path, plain_styles):
    with page_of(tmp_path, 0, secret=SECRET) as served, Browser(tmp_path / "b", (390, 844), dark=True) as browser:
        browser.open(served.address)
        assert "No roll is in it yet." in browser.text() and "A new roll" not in browser.text()
        enter(browser, SECRET)
        browser.wait_for("document.documentElement.classList.contains('may')")
        assert "A new roll" in browser.text()
        assert browser.run("document.documentElement.scrollWidth") == 390  # nothing sticks out on a phone
        for name, text in (("name", "sky"), ("camera", "frames:/etc"), ("every", "6h")):
            browser.type(f"#new-{name}", text)
        browser.run("document.getElementById('new-style').value = 'same'")
        browser.click("#begin button")
        browser.wait_for("document.getElementById('answer').innerText.includes('from the command line')")
        browser.type("#new-camera", "synthetic")
        browser.click("#begin button")
        browser.wait_for("location.pathname === '/roll/sky/' && document.readyState === 'complete'")
        browser.wait_for("document.querySelector('#state').innerText.includes('finished')")
        assert browser.text("h1") == "sky"
        assert [fault for fault in browser.faults if "409" not in fault] == []
    status = read_status(tmp_path / "sky")
    assert (status.frames, status.look) == (4, "same-8bit")


#: Of every word that is seen: the contrast between its colour and what is behind it, as WCAG 2.2 defines it.
_CONTRASTS = """
(() => {
  const parts = colour => { const [r, g, b, a = 1] = colour.match(/[0-9.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = colour => colour.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 :
    ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    if (!element) return [255, 255, 255, 1];
    const own = parts(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, behind(element.parentElement));
  };
  return [...document.querySelectorAll("main *")].filter(element => element.checkVisibility() &&
    [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())).map(element => {
      const back = behind(element), [a, b] = [light(over(parts(getComputedStyle(element).color), back)), light(back)];
      return [element.innerText.trim(), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_word_stands_out_from_what_is_behind_it(tmp_path, plain_styles, dark):
    shelf, seen = tmp_path / "shelf", set[str]()
    shelf.mkdir()
    for state in ("new", "stopped", "failed"):
        with Roll.open(make_roll(shelf / state)) as roll:
            if state != "new":
                roll.write(Ended(state=state, message="the disk failed"))
    status = busy_status(shelf / "new")
    with (
        page_of(shelf, 0, secret=SECRET) as all_rolls,
        page_showing(shelf / "new", status) as running,
        page_showing(shelf / "stopped", replace(status, camera_failures=3)) as waiting,
        Browser(tmp_path, dark=dark) as browser,
    ):
        browser.open(all_rolls.address)
        enter(browser, SECRET)
        browser.wait_for("document.documentElement.classList.contains('may')")
        for address in (all_rolls.address, f"{all_rolls.address}roll/stopped/", running.address, waiting.address):
            browser.open(address)
            found = browser.run(_CONTRASTS)
            assert len(found) > 20
            assert [(word, round(contrast, 2)) for word, contrast in found if contrast < 4.5] == []
            seen |= {word for word, _ in found}
    for word in ("running", "waiting for the camera", "stopped", "failed", "Begin filming", "3 late", "of its folder"):
        assert any(word in text for text in seen), word


def test_without_javascript_the_latest_pair_is_there(tmp_path):
    status = busy_status(roll := make_roll(tmp_path / "roof"))
    with page_showing(roll, status) as served, Browser(tmp_path, (390, 844)) as browser:
        browser.ask("Emulation.setScriptExecutionDisabled", value=True)
        browser.ask("Page.navigate", url=served.address)
        browser.wait_for("document.querySelectorAll('.pair img').length === 2 && document.readyState === 'complete'")
        boxes = browser.run(
            "[...document.querySelectorAll('.pair img')].map(i => (b => [i.naturalWidth > 0, b.top, b.bottom, b.width])"
            "(i.getBoundingClientRect()))"
        )
        (original, top, bottom, width), (painting, below, _, _) = boxes
        assert original and painting and width == 390 - 32 and below >= bottom > top  # one below the other
        words = browser.text()
        assert "running" in words and "1,234" in words and "Focus" not in words
        assert not browser.run("document.querySelector('.slider').checkVisibility()")
