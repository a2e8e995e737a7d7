"""Cameras by gphoto2's command, with a command of that name that the tests wrote."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from pleinair.cameras import gphoto2
from pleinair.cameras.gphoto2 import Gphoto2Camera
from pleinair.cameras.opening import CameraSource, open_shooter
from pleinair.errors import CameraError, OptionError
from tests.network_cameras import jpeg
from tests.rolls import read_code


@pytest.fixture
def command(tmp_path, monkeypatch) -> Path:
    """``gphoto2`` on the path: it notes its calls in ``told``, and does what ``script.py`` says."""
    place = tmp_path / "bin"
    place.mkdir()
    for number in range(4):
        (place / f"{number}.jpg").write_bytes(jpeg(number))
    (place / "script.py").write_text("picture('0001.jpg')")
    program = place / "gphoto2"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, shutil, sys, time\n"
        f"place = {str(place)!r}\n"
        "with open(place + '/told', 'a') as file: print(*sys.argv[1:], os.getpid(), file=file)\n"
        "number = len(open(place + '/told').readlines()) - 1\n"
        "def picture(name): shutil.copy(f'{place}/{number % 4}.jpg', name)\n"
        "exec(open(place + '/script.py').read())\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return place


def test_the_shutter_is_released_for_each_picture(command):
    shooter = open_shooter(CameraSource.parse("gphoto2:usb:001,004"))
    try:
        assert (shooter.name, shooter.size) == ("gphoto2:usb:001,004", (64, 48))
        shown = []
        for _ in range(3):
            frame = shooter.shoot()
            assert frame is not None
            shown.append(read_code(frame.image))
    finally:
        shooter.close()
    calls = (command / "told").read_text().splitlines()
    assert shown in ([0, 1, 2], [1, 2, 3])  # the picture that told the size is the first one, where it is a fresh one
    assert all(
        call.startswith("--port=usb:001,004 --quiet --capture-image-and-download --filename=%n.%C ") for call in calls
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('*** Error: No camera found. ***', file=sys.stderr); sys.exit(1)", "gphoto2: Error: No camera found."),
        ("sys.exit(3)", "gphoto2: status 3"),
        ("sys.exit(0)", "gphoto2 gave no picture"),
        ("open('0001.cr2', 'wb').write(b'II*\\0raw')", "gave .cr2 alone; set its image format to JPEG"),
        ("open('0001.jpg', 'wb').write(open(place + '/1.jpg', 'rb').read()[:900])", "its picture: truncated"),
        ("os.symlink(place + '/1.jpg', '0001.jpg')", "gphoto2 gave no picture"),
        ("time.sleep(60)", "gphoto2 took longer than 1 s"),
    ],
)
def test_what_goes_wrong_is_told(command, script, said, monkeypatch):
    monkeypatch.setattr(gphoto2, "DEADLINE", 1.0)
    (command / "script.py").write_text(script)
    with pytest.raises(CameraError, match=r"^camera gphoto2: ") as caught:
        Gphoto2Camera("")
    assert said in str(caught.value)


def test_of_a_raw_file_and_a_jpeg_the_jpeg_is_the_picture(command):
    (command / "script.py").write_text("open('0001.arw', 'wb').write(b'II*\\0raw'); picture('0002.jpg')")
    assert read_code(Gphoto2Camera("").shoot().image) == 0


def test_without_the_command_it_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CameraError, match="gphoto2 is not installed: sudo apt install gphoto2"):
        Gphoto2Camera("")


@pytest.mark.parametrize("text", ["gphoto2:", "gphoto2:--port", "gphoto2:usb", "gphoto2:usb:1 2", "gphoto2:usb:$(x)"])
def test_ports_are_written_as_gphoto2_does(text):
    with pytest.raises(OptionError, match="^camera "):
        CameraSource.parse(text)
