"""Styles to a file and back: the same pixels; whatever is damaged, foreign or hostile is refused and leaves nothing."""

import json
import os

import cv2
import numpy as np
import pytest

from pleinair.cli.main import main
from pleinair.errors import ModelError, OptionError
from pleinair.models import find_style, load_model, user_styles
from pleinair.models import styles as all_styles
from pleinair.sharing import archive
from pleinair.sharing.page import style_page
from pleinair.sharing.styles import GOLDEN, MANIFEST, add_style, export_style, paint, remove_style
from tests.models import card_of, write_model, write_models
from tests.networks import floats_like, random_network


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without styles; the folder for the test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("PLEINAIR_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def style(home):
    return write_models(home / "mine", random_network(bits=8, seed=3), random_network(bits=4, seed=4))


@pytest.fixture
def file(home, style):
    export_style(str(style), home / "mine.pleinair")
    return home / "mine.pleinair"


def left(home):
    """Everything in the user's folder for data."""
    return sorted(str(p.relative_to(home / "data")) for p in (home / "data").rglob("*") if p.is_file())


def test_exported_and_added_it_paints_the_same_pixels(home, style, file):
    added = add_style(file)
    assert added.name == "mine" and added.compared == 2 and added.folder == user_styles() / "mine"
    assert find_style("mine") == added.folder
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for bits in (4, 8):
        assert np.array_equal(paint(added.folder, bits, photo), paint(style, bits, photo))
        assert load_model("mine", bits).sha256 == load_model(style, bits).sha256
    golden = cv2.imread(str(added.folder / GOLDEN))[..., ::-1]
    assert np.array_equal(cv2.imread(str(added.folder / "painting-4bit.png"))[..., ::-1], paint(style, 4, golden))
    # Nothing half-made lies beside it, and it can be given on.
    assert sorted(p.name for p in user_styles().parent.iterdir()) == ["styles"]
    export_style("mine", home / "again.pleinair")
    assert (home / "again.pleinair").read_bytes() == file.read_bytes()


def test_a_flipped_bit_anywhere_is_refused(home, file):
    data = file.read_bytes()
    places = np.random.default_rng(1).permutation(len(data) * 8)[:2000]
    # What surrounds the members, and the digits at the end, in full.
    places = [*places, *range(8 * (len(data) - 120), 8 * len(data)), *range(8 * 30)]
    for place in map(int, places):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(ModelError):
            archive.unpack(bytes(damaged), file)
    for damaged in (data[:-1], data[1:], data + b"\n", b"", b"PK", data * 2):
        with pytest.raises(ModelError):
            archive.unpack(damaged, file)


def repacked(file, change):
    """The file with its members changed by ``change``, and its SHA-256 right: made to deceive."""
    members = archive.unpack(file.read_bytes(), file)
    change(members)
    file.write_bytes(archive.pack(members))


def other_painting(members):
    picture = cv2.imdecode(np.frombuffer(members["painting-8bit.png"], np.uint8), cv2.IMREAD_COLOR)
    picture[3, 4, 1] ^= 1
    members["painting-8bit.png"] = cv2.imencode(".png", picture)[1].tobytes()


def other_network(members):
    members["network-8bit.npz"] = members["network-8bit.npz"][:-1]


def large_golden(members):
    members[GOLDEN] = cv2.imencode(".png", np.zeros((4000, 3000, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_painting, "1 of 115200 values differ from painting-8bit.png"),
        (other_network, "SHA-256"),
        (large_golden, "far too many"),
        (lambda m: m.pop("painting-4bit.png"), "no painting-4bit.png"),
        (lambda m: m.pop(GOLDEN), "has no golden.png"),
        (lambda m: m.update({"run.sh": b"rm"}), "run.sh does not belong"),
        (lambda m: m.update({MANIFEST: b"[" * 100_000}), "style.json"),
        (lambda m: m.update({MANIFEST: b'{"format": "pleinair-style", "version": 1, "name": "../up"}'}), "../up"),
        (lambda m: m.update({MANIFEST: b'{"format": "pleinair-style", "version": 2, "name": "up"}'}), "version 1"),
        (lambda m: m.update({"card.json": b"{}"}), "card"),
    ],
)
def test_what_was_made_to_deceive_is_refused_and_leaves_nothing(home, file, change, said):
    repacked(file, change)
    with pytest.raises((ModelError, OptionError), match=said.replace(".", r"\.")):
        add_style(file)
    assert left(home) == [] and "mine" not in all_styles()


def test_members_that_unpack_or_lead_elsewhere_are_refused(home, file):
    import io
    import zipfile

    def crafted(name, how=zipfile.ZIP_STORED, twice=False):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", how) as made:
            for _ in range(1 + twice):
                made.writestr(name, b"0" * 1000)
            made.comment = b"sha256:" + bytes(64)
        return sealed(out.getvalue())

    def sealed(data):
        import hashlib

        return data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode()

    assert archive.unpack(crafted("a"), file) == {"a": b"0" * 1000}
    with pytest.warns(UserWarning):
        twice = crafted("a", twice=True)
    for data in (crafted("../a"), crafted("/etc/a"), crafted("a", zipfile.ZIP_DEFLATED), crafted(".hidden"), twice):
        with pytest.raises(ModelError):
            archive.unpack(data, file)


def test_names_are_kept_apart(home, style, file):
    assert add_style(file, name="other").name == "other"
    with pytest.raises(OptionError, match="you have a style of that name"):
        add_style(file, name="other")
    (user_styles() / "other" / "mark").write_text("old")
    assert add_style(file, name="other", force=True).compared == 2
    assert not (user_styles() / "other" / "mark").exists()
    with pytest.raises(OptionError, match="there is a style of that name"):
        add_style(file, name="starry-night", force=True)
    for bad in ("../x", "", "a/b", "A", ".x", "x" * 65):
        with pytest.raises(OptionError, match="name"):
            add_style(file, name=bad)


def test_a_folder_is_added_too(home, style):
    added = add_style(style)
    assert added.compared == 0 and load_model("mine", 4).folder == added.folder
    with pytest.raises(OptionError, match="a folder is not signed"):
        add_style(style, name="x", key=object())


def test_only_ones_own_are_removed(home, file):
    add_style(file)
    assert remove_style("mine") == user_styles() / "mine" and left(home) == []
    for name, said in (("mine", "unknown"), ("starry-night", "not added by"), ("../data", "a style's name")):
        with pytest.raises(OptionError, match=said):
            remove_style(name)


def test_a_style_without_integers_is_not_shared(home):

    folder = write_model(home / "float", floats_like(random_network(seed=1), 1))
    with pytest.raises(ModelError, match="float network alone"):
        export_style(str(folder), home / "float.pleinair")


def test_a_full_disk_leaves_nothing(home, file, monkeypatch):
    def full(path, data, *_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pleinair.durable.write_file", full)
    from pleinair.errors import OutputError

    with pytest.raises(OutputError, match="No space left"):
        add_style(file)
    assert left(home) == [] and "mine" not in all_styles()


def test_the_page_shows_what_a_card_says_as_text(home, style):
    from pleinair.models import read_card

    card = card_of(style)
    card["painting"]["title"] = "A [link](http://x) `code`\n# head | <b>"
    card["licence"] = "CC0-1.0\nevil: 1"
    (style / "card.json").write_text(json.dumps(card))
    page = style_page("mine", read_card(style), "mine.pleinair")
    head, _, body = page.removeprefix("---\n").partition("\n---\n")
    assert "license: cc0-1.0evil1" in head.splitlines()[0] and "evil: 1" not in head
    assert r"\[link\](http://x) \`code\` \# head \| \<b\>" in body and "| networks | 4 bits, 8 bits |" in body
    assert "pleinair styles add mine.pleinair" in body


# The command


def test_the_command_from_export_to_remove(home, style, capsys):
    assert main(["styles", "export", str(style)]) == 0
    assert (home / "mine.pleinair").is_file() and (home / "mine.pleinair.md").read_text().startswith("---\nlicense:")
    assert main(["styles", "export", str(style)]) == 2 and "--force" in capsys.readouterr().err
    assert main(["styles", "export", str(style), "--force"]) == 0
    assert main(["styles", "add", "mine.pleinair"]) == 0
    assert "mine: added, 2 of 2 paintings equal" in capsys.readouterr().out
    assert main(["styles", "show", "mine"]) == 0
    assert "Random integers" in capsys.readouterr().out
    assert main(["styles", "show", "mine", "--json"]) == 0
    assert [n["bits"] for n in json.loads(capsys.readouterr().out)["networks"]] == [4, 8]
    assert main(["styles", "add", "mine.pleinair", "--name", "Two Words"]) == 2
    assert "--name 'Two Words'" in capsys.readouterr().err
    assert main(["styles", "remove", "mine"]) == 0
    assert main(["styles", "show", "mine"]) == 0  # the folder of that name, where one stands
    assert main(["styles", "add", "nowhere"]) == 2 and "nowhere" in capsys.readouterr().err
    assert main(["styles", "export", "starry-night", "--out", "x.zip"]) == 2
    assert "--out x.zip: a style's file ends in .pleinair" in capsys.readouterr().err


def test_the_contact_sheet_has_every_style(home, style, file, monkeypatch, capsys):
    monkeypatch.setenv("PLEINAIR_MODELS", str(style.parent))
    monkeypatch.setattr("pleinair.models.__file__", str(home / "nowhere" / "a" / "models.py"))
    add_style(file, name="second")
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite("photo.png", photo)
    assert main(["styles", "--contact-sheet", "sheet.png", "--image", "photo.png"]) == 0
    sheet = cv2.imread("sheet.png")
    assert sheet.shape == (48 + 16, 3 * 72 + 8, 3)
    assert np.array_equal(sheet[8:20, 8:72], photo[:12])  # above the name
    assert np.array_equal(sheet[8:20, 80:144], sheet[8:20, 152:216])  # the same style twice
    assert main(["styles", "--image", "photo.png"]) == 2 and "--contact-sheet" in capsys.readouterr().err
