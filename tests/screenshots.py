"""The pictures of the page in docs/, made anew: ``python -m tests.screenshots [FOLDER]`` from the checkout's root.

Two rolls of a synthetic day are filmed and painted, and the page is looked at in Chromium once every style has its
small picture. It takes some minutes.
"""

from __future__ import annotations

import datetime
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

import pleinair
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.serving.site import page_of
from tests.browser import Browser
from tests.house import ROOT

_SIZE, _FRAMES, _EVERY, _SECRET = (1280, 720), 24, 3600.0, "k7pf-92ma-xq3d-hh4t"
_BEGUN = datetime.datetime(2026, 11, 25, 4, 30)
#: Exif's numbers of the block of a photo's own fields, and of the time at which it was taken.
_PHOTO, _TAKEN = 0x8769, 0x9003


def film(rolls: Path, name: str, seed: int, style: str) -> None:
    """Film a day, as photos with dates, on a roll."""
    photos = rolls.parent / name
    photos.mkdir()
    for number, frame in enumerate(SyntheticCamera(_SIZE, _FRAMES, seed=seed, every=_EVERY).frames()):
        exif = Image.Exif()
        taken = _BEGUN + datetime.timedelta(seconds=number * _EVERY)
        exif.get_ifd(_PHOTO)[_TAKEN] = taken.strftime("%Y:%m:%d %H:%M:%S")
        Image.fromarray(frame.image).save(photos / f"{number:03d}.jpg", exif=exif, quality=92)
    camera, out = f"frames:{photos}", rolls / f"{name}.mp4"
    with pleinair.begin_roll(rolls / name, camera, style=style, keep_free=0, daily=True, out=out) as lapse:
        lapse.run()
    with pleinair.open_roll(rolls / name) as roll:
        from pleinair.rolls.finish import finish

        finish(roll, roll.settings.look, out)


def photograph(browser: Browser, address: str, file: Path, height: int) -> None:
    """Take a picture of a page for who has the token, once all is painted."""
    browser.open(address)
    browser.run(f"localStorage.setItem('pleinair token', '{_SECRET}')")
    browser.open("about:blank")
    browser.open(address)
    browser.wait_for("!document.querySelector('.styles .none')", patience=900.0)
    size = browser.run("[innerWidth, document.querySelector('main').scrollHeight]")
    browser.resize((size[0], min(height, size[1])), browser.scale)
    # Pictures below come when they are looked at.
    browser.run("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
    browser.wait_for("[...document.images].every(image => image.hidden || (image.complete && image.naturalWidth))")
    # The head of a roll's page tells where its photos lie, which is nobody's business.
    browser.run("document.querySelector('#state')?.scrollIntoView()")
    file.write_bytes(browser.picture(kind="webp", quality=80))
    print(file)


def main(folder: Path) -> None:
    """Make the pictures."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = f"{place}/cache"  # so that the styles' pictures are those of today
        os.environ["XDG_DATA_HOME"] = f"{place}/data"
        rolls = Path(place) / "timelapses"
        rolls.mkdir()
        film(rolls, "garden", 3, "great-wave")
        film(rolls, "roof", 1, "starry-night")
        with page_of(rolls, 0, secret=_SECRET) as page:
            with Browser(Path(place) / "desktop", (900, 900)) as browser:
                photograph(browser, page.address, folder / "page-desktop.webp", 2000)
            with Browser(Path(place) / "phone", (390, 844), dark=True, scale=1.5) as browser:
                photograph(browser, f"{page.address}roll/roof/", folder / "page-phone.webp", 900)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
