"""Addresses of network cameras: parsed once, and never told whole."""

from __future__ import annotations

import pytest

from pleinair.cameras.address import check_address, kept_mark, kept_name, login, public, without_login
from pleinair.cameras.opening import CameraSource, open_camera
from pleinair.errors import OptionError


@pytest.mark.parametrize(
    ("address", "shown", "known", "asked"),
    [
        ("rtsp://cam", "rtsp://cam", None, "rtsp://cam/"),
        ("rtsp://me:pw@10.0.0.5:554/a/b?c=1", "rtsp://10.0.0.5:554", ("me", "pw"), "rtsp://10.0.0.5:554/a/b?c=1"),
        ("http://me:p%40w@[fe80::1]:81/x", "http://[fe80::1]:81", ("me", "p@w"), "http://[fe80::1]:81/x"),
        ("http://me:p@w@cam/x", "http://cam", ("me", "p@w"), "http://cam/x"),
        ("HTTPS://me@cam/é?q=ü", "https://cam", ("me", ""), "https://cam/%C3%A9?q=%C3%BC"),
    ],
)
def test_an_address_is_taken_apart(address, shown, known, asked):
    whole = check_address(address)
    assert (public(whole), login(whole), without_login(whole)) == (shown, known, asked)


@pytest.mark.parametrize(
    "address",
    [
        *("rtsp:", "rtsp://", "http:/secret", "http://secret:pw@", "http://cam:99999/secret", "http://cam:0/secret"),
        *(
            "http://cam/se cret",
            "http://cam/se\ncret",
            "http://cam:x/secret",
            "http://[cam/secret",
            "http://c\\am/secret",
        ),
        *("rtmp://me:secret@cam/", "file:///secret", "rstp://me:secret@cam", "http://" + "c" * 2000),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(address):
    with pytest.raises(OptionError, match="^camera address: write rtsp://, http://, https:// with HOST") as caught:
        CameraSource.parse(address)
    assert "secret" not in str(caught.value)


def test_a_source_tells_only_its_host():
    source = CameraSource.parse("rtsp://me:secret@cam.lan:554/token?x=1")
    assert source.live and source.timed and source.kind == "rtsp"
    assert str(source) == "rtsp://cam.lan:554" and "secret" not in repr(source) and "token" not in repr(source)
    with pytest.raises(OptionError, match="camera 'rtsp://cam.lan:554': a live camera films on a roll"):
        open_camera(source)


def test_the_name_on_a_roll_holds_a_mark_alone():
    name = kept_name("rtsp://me:secret@cam.lan:554/token", "0123456789abcdef")
    assert name == "rtsp://cam.lan:554/...#0123456789abcdef" and kept_mark(name) == "0123456789abcdef"
    assert str(CameraSource.parse(name)) == "rtsp://cam.lan:554"
    for other in ("rtsp://cam.lan", name[:-1], name + "0", "v4l2:0", "rtsp://cam/...#../../etc/passwd"):
        assert kept_mark(other) is None
