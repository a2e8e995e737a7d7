"""``pleinair run``, ``paint`` and ``styles``: what is asked for; one line and status 2 for what is wrong; signals."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cli.main import main
from pleinair.films.steadiness import Steady
from pleinair.models import load_model
from tests import children
from tests.films import frame_of, read_video, write_frames, write_video
from tests.models import write_model
from tests.networks import random_network
from tests.rolls import Still, capture_only, new_roll

LEVELS = [20, 60, 100, 140, 180, 220]
COMMAND = [sys.executable, "-c", "from pleinair.cli.main import entry; entry()"]


@pytest.fixture(scope="session")
def style(tmp_path_factory) -> Path:
    """A model folder, small and quick."""
    return write_model(tmp_path_factory.mktemp("models") / "integers", random_network(3, width=4, blocks=1, kernel=3))


@pytest.fixture
def place(tmp_path, monkeypatch, style) -> Path:
    """The working folder: frames, a photo, an empty ``out``; the random style is the only one there is."""
    write_frames(tmp_path / "frames", LEVELS)
    cv2.imwrite(str(tmp_path / "photo.png"), frame_of(90))
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("PLEINAIR_MODELS", str(style.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(place, capsys):
    """Runs a command that must be refused: status 2, one line on stderr, nothing in ``out``; the line."""

    def check(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ")
        assert os.listdir(place / "out") == []
        return err

    return check


def film(*arguments: str, out: str = "out/film.mp4") -> list[str]:
    """A run over the frames, by the reference."""
    return [
        *["run", "--style", "integers", "--backend", "reference", "--camera", "frames:frames", "--out"],
        out,
        *arguments,
    ]


def painted(style: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    """What the reference makes of the images."""
    painter = open_painter(load_model(str(style), 8), "reference")
    return [painter.paint(image) for image in images]


# -- what it is for


def test_paint_is_the_model_on_the_photo(place, style, capsys):
    assert main(["paint", "photo.png", "out/painting.png", "--style", str(style)]) == 0
    (wanted,) = painted(style, [frame_of(90)])
    np.testing.assert_array_equal(cv2.imread("out/painting.png")[..., ::-1], wanted)
    out, err = capsys.readouterr()
    assert out.startswith("out/painting.png: 64x48 in ") and err == ""


def test_run_films_each_frame_painted_in_order(place, style, capsys):
    # Frames of noise, as a random network makes much the same of every plain one.
    noise = np.random.default_rng(0)
    shots = [cv2.resize(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8), (64, 48)) for _ in LEVELS]
    for path, shot in zip(sorted((place / "frames").iterdir()), shots, strict=True):
        cv2.imwrite(str(path), shot[..., ::-1])
    assert main(film("--fps", "12", "--steady", "0")) == 0
    wanted = [p.astype(int) for p in painted(style, shots)]
    got = read_video(place / "out" / "film.mp4")
    assert len(got) == len(LEVELS) and os.listdir("out") == ["film.mp4"]
    for i, image in enumerate(got):
        errors = [np.abs(image.mean(2) - w.mean(2)).mean() for w in wanted]
        assert int(np.argmin(errors)) == i and errors[i] < 0.5 * sorted(errors)[1]
    out, err = capsys.readouterr()
    assert "out/film.mp4: 6 frames, 0.5 s at 12 fps, 64x48" in out and err == ""


@pytest.mark.parametrize(("arguments", "strength"), [([], 4), (["--steady", "0"], 0), (["--steady", "9"], 9)])
def test_run_steadies_frames_and_paintings(place, style, arguments, strength):
    noise = np.random.default_rng(0)
    shot = cv2.resize(noise.integers(30, 226, (12, 16, 3)).astype(np.float32), (64, 48))
    shots = [np.rint(shot + noise.normal(0, 6, shot.shape)).astype(np.uint8) for _ in LEVELS]
    for path, noisy in zip(sorted((place / "frames").iterdir()), shots, strict=True):
        cv2.imwrite(str(path), noisy[..., ::-1])
    assert main(film(*arguments)) == 0
    last = read_video(place / "out" / "film.mp4")[-1].mean(2)
    errors = {}
    for tried in (0, 4, 9):
        frames = list(map(Steady(tried), shots))
        errors[tried] = np.abs(list(map(Steady(tried), painted(style, frames)))[-1].mean(2) - last).mean()
    assert min(errors, key=errors.__getitem__) == strength, errors


@pytest.mark.parametrize(
    ("arguments", "count"),
    [(["--frames", "1"], 1), (["--every", "6h"], 4), (["--every", "1h", "--for", "3h"], 3), (["--for", "10m"], 2)],
)
def test_how_many_frames(place, capsys, arguments, count):
    assert main(film("--camera", "synthetic:2", "--size", "16x16", *arguments)) == 0
    assert len(read_video(place / "out" / "film.mp4")) == count
    assert f"{count} frame{'' if count == 1 else 's'}, " in capsys.readouterr().out


def test_damaged_frames_are_told_and_left_out(place, capsys):
    (place / "frames" / "frame0002.png").write_bytes(b"")
    assert main(film()) == 3
    assert len(read_video(place / "out" / "film.mp4")) == 5
    out, err = capsys.readouterr()
    assert "5 frames" in out
    told = "skipped: image frames/frame0002.png: the file is empty\nleft out of the film: 1 frame, damaged\n"
    assert err == told


def test_many_damaged_frames_do_not_flood(place, capsys):
    for path in write_frames(place / "many", [9] * 40)[1:]:
        path.write_bytes(b"")
    assert main(film("--camera", "frames:many")) == 3
    out, err = capsys.readouterr()
    assert "film.mp4: 1 frame, " in out and err.count("\n") == 12
    assert err.splitlines()[-2:] == ["skipped: 29 more", "left out of the film: 39 frames, damaged"]


def test_config_gives_defaults_and_the_command_line_wins(place):
    Path("run.toml").write_text(
        'camera = "frames:frames"\nbackend = "reference"\nout = "out/film.mp4"\nframes = 2\nfps = 10\nbits = 8\n'
    )
    assert main(["run", "--style", "integers", "--config", "run.toml"]) == 0
    assert len(read_video(place / "out" / "film.mp4")) == 2
    assert main(["run", "--frames", "3", "--style", "integers", "--config=run.toml"]) == 0
    assert len(read_video(place / "out" / "film.mp4")) == 3


def test_styles_lists_the_good_and_names_the_bad(place, style, tmp_path, monkeypatch, capsys):
    network = random_network(3, width=4, blocks=1, kernel=3)
    card = write_model(tmp_path / "models" / "good", network) / "card.json"
    card.write_text(card.read_text().replace("Random integers", "[/b] red \\u001b[31m"))
    (write_model(tmp_path / "models" / "bad", network) / "card.json").write_text("{")
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["styles"]) == 2
    out, err = capsys.readouterr()
    assert "good" in out and "[/b] red \\x1b[31m" in out and "\x1b" not in out
    assert err.count("\n") == 1 and "bad/card.json: damaged" in err


def test_styles_as_json(place, style, capsys):
    assert main(["styles", "--json"]) == 0
    row = {row["style"]: row for row in json.loads(capsys.readouterr().out)}["integers"]
    assert row == {
        "style": "integers",
        "painting": "Random integers",
        "bits": [8],
        "adaptive": False,
        "width": 4,
        "blocks": 1,
        "licence": row["licence"],
        "folder": str(style),
    }


@pytest.mark.parametrize(
    ("arguments", "config", "stamped"),
    [
        ([], "", False),
        (["--timestamp"], "", True),
        (["--timestamp", "1"], "", True),
        (["--timestamp", "0"], "", False),
        (["--timestamp", "--fps", "10"], "", True),
        ([], "timestamp = 1", True),
        ([], "timestamp = 0", False),
        ([], "timestamp = true", True),
        ([], "timestamp = false", False),
        (["--timestamp", "0"], "timestamp = true", False),
    ],
)
def test_a_timestamp_is_a_flag_that_takes_0_and_1_as_well(place, monkeypatch, arguments, config, stamped):
    asked = []
    monkeypatch.setattr("pleinair.cli.painting._film_at_once", lambda common: asked.append(common.timestamp))
    Path("run.toml").write_text(config)
    assert main(film(*arguments, "--config", "run.toml")) == 0
    assert asked == [stamped]


# -- what is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paint", "none.png", "out/a.png"], "none.png: No such file"),
        (["paint", "frames", "out/a.png"], "frames: a folder"),
        (["paint", "photo.png", "out"], "output out: write .png"),
        (["paint", "photo.png", "out/a.xyz"], "out/a.xyz: write .png"),
        (["paint", "photo.png", "out/a.gif"], "out/a.gif: write .png"),
        (["paint", "photo.png", "out/a.hdr"], "out/a.hdr: write .png"),
        (["paint", "photo.png", "nowhere/a.png"], "the folder nowhere does not exist"),
        (["paint", "photo.png", "photo.png"], "is the photo itself"),
        (["paint", "photo.png", "./out/../photo.png"], "is the photo itself"),
        (["paint", "photo.png"], "give IMAGE and OUT"),
        (["paint", "photo.png", "out/a.png", "--style", "nobody"], "--style 'nobody': unknown; there are integers"),
        (["paint", "photo.png", "out/a.png", "--style", "frames"], "the folder has no card.json"),
        (["paint", "photo.png", "out/a.png", "--style", "x" * 5000], "unknown"),
        (["paint", "photo.png", "out/a.png", "--style", "integers", "--bits", "4"], "--bits 4: style integers has 8"),
        (["paint", "photo.png", "out/a.png", "--bits", "x"], "--bits 'x': choose from 4, 8, 16, 32"),
        (["paint", "photo.png", "out/a.png", "--bits", "5"], "--bits 5: choose from 4, 8, 16, 32"),
        (["paint", "photo.png", "out/a.png", "--style", "integers", "--backend", "gpu"], "'gpu': choose from cpu"),
        (["paint", "photo.png", "out/a.png", "--threads", "257"], "'--threads': 257 is not in the range 0<=x<=256"),
        (["paint", "photo.png", "out/a.png", "--speed", "3"], "--speed"),
        (["dance"], "'dance'"),
        (["run"], "give --out FILM, --roll ROLL, or both"),
        (film("--daylight", "52,13"), "--daylight '52,13': needs --roll"),
        (film("--keep", "none"), "--keep needs --roll"),
        (film("--spool", "png"), "--spool needs --roll"),
        (film("--frames", "ten"), "'ten' is not a valid whole number"),
        (["styles", "show", "nobody"], "STYLE 'nobody': unknown"),
        (["styles", "remove", "nobody"], "'nobody': unknown"),
        (film("--crop", "40x40+30+0"), "--crop '40x40+30+0': reaches outside the camera's 64x48"),
        (film("--crop", "40x40"), "write WIDTHxHEIGHT+LEFT+TOP"),
        (film("--rotate", "45"), "--rotate 45: choose from 0, 90, 180, 270"),
        (film(out="out"), "--out out: a film ends in .mp4, .mkv, .mov"),
        (film(out="out/film.avi"), "a film ends in"),
        (film(out="nowhere/film.mp4"), "the folder nowhere does not exist"),
        (film("--camera", "frames:none"), "frames:none"),
        (film("--camera", "frames:out"), "no image in it"),
        (film("--camera", "video:photo.txt"), "video:photo.txt"),
        (film("--camera", "rpi"), "'rpi': choose from synthetic[:SEED], frames:DIR, video:FILE"),
        (film("--size", "8x8"), "--size '8x8'"),
        (film("--size", ""), "--size ''"),
        (film("--every", ""), "--every ''"),
        (film("--every", "1s"), "a folder of frames has no clock"),
        (film("--for", "1h"), "--for '1h': a folder of frames has no clock"),
        (film("--for", "1h", "--frames", "3"), "not both"),
        (film("--camera", "video:film.mp4", "--for", "1h"), "--for '1h': needs --every"),
        (film("--camera", "synthetic", "--for", "366d", "--every", "1ms"), "allowed are 10000000"),
        (film("--camera", "synthetic", "--for", "soon"), "--for 'soon'"),
        (film("--frames", "0"), "'--frames': 0 is not in the range 1<=x<=10000000"),
        (film("--fps", "0"), "--fps '0': write a number from 1 to 240, such as 24, 23.976 or 24000/1001"),
        (film("--steady", "17"), "'--steady': 17 is not in the range 0<=x<=16"),
        (film("--config", "none.toml"), "--config none.toml: No such file"),
    ],
)
def test_refused_in_one_line(refused, arguments, said):
    assert said in refused(*arguments)


def test_notices_need_a_roll(place, style, monkeypatch, refused):
    monkeypatch.setenv("PLEINAIR_NOTIFY", "json://x")
    assert "--notify needs --roll" in refused(*film())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("fps = 0", "--fps '0': write a number from 1 to 240"),
        ('fps = "x"', "--fps 'x': write a number"),
        ("fps = 0.5", "--fps '0.5'"),
        ("fps = true", "--config run.toml: fps is true"),
        ("timestamp = [1]", "--config run.toml: timestamp is an array; allowed are true and false"),
        ("speed = 1", "unknown option 'speed'; there are audit, backend, bits, camera"),
        ('size = "1x1"', "--size '1x1'"),
        ("=", "--config run.toml: not TOML"),
    ],
)
def test_config_refused_in_one_line(refused, content, said):
    Path("run.toml").write_text(content)
    assert said in refused(*film("--config", "run.toml"))


def test_a_video_is_not_overwritten_by_its_film(refused):
    write_video(Path("film.mp4"), [frame_of(9)] * 3)
    before = Path("film.mp4").read_bytes()
    assert "is the video that it is made from" in refused(*film("--camera", "video:film.mp4", out="film.mp4"))
    assert Path("film.mp4").read_bytes() == before


def test_only_damaged_frames(refused):
    for path in Path("frames").iterdir():
        path.write_bytes(b"")
    assert "none of its images can be read; the first: image frames/frame0001.png: the file is empty" in refused(
        *film()
    )


def test_a_small_photo_is_named(refused):
    cv2.imwrite("small.png", frame_of(9, 15, 40))
    assert "image small.png: 15x40, painted are 16x16" in refused(
        "paint", "small.png", "out/a.png", "--style", "integers"
    )


def test_odd_names_stay_on_one_line(refused):
    Path("a\nb\x1b[31m.png").write_bytes(b"")
    assert r"a\nb\x1b[31m.png: the file is empty" in refused("paint", "a\nb\x1b[31m.png", "out/a.png")


# fmt: off
CARDS = {
    "no json": "{", "empty": "", "not an object": "[]", "deep": "[" * 100_000, "huge": " " * (2 << 20),
    "bytes": "\udcff",
    "version": {"version": 2}, "format": {"format": "x"}, "margin": {"margin": "x"}, "infinite": {"margin": 1e400},
    "negative": {"margin": -1}, "true": {"margin": True}, "networks": {"networks": []}, "none": {"networks": {}},
    "width": {"networks": {"seven": {}}}, "hash": {"networks": {"8": {}}}, "hashes": {"networks": {"8": {"sha256": 5}}},
    "painting": {"painting": 5}, "architecture": {"architecture": []},
}
# fmt: on


@pytest.mark.parametrize("damage", CARDS)
def test_damaged_cards(refused, style, tmp_path, damage):
    network = random_network(3, width=4, blocks=1, kernel=3)
    card = write_model(tmp_path / "model", network) / "card.json"
    change = CARDS[damage]
    if isinstance(change, str):
        card.write_bytes(change.encode("utf-8", "surrogateescape"))
    else:
        card.write_text(json.dumps({**json.loads(card.read_text()), **change}))
    assert "model/" in refused("paint", "photo.png", "out/a.png", "--style", "model", "--backend", "reference")


def test_damaged_networks(refused, tmp_path):
    small = random_network(3, width=4, blocks=1, kernel=3)
    file = write_model(tmp_path / "model", small) / "network-8bit.npz"
    whole = file.read_bytes()
    four = write_model(tmp_path / "four", random_network(3, width=4, blocks=1, kernel=3, bits=4)) / "network-4bit.npz"
    for data in (whole[:100], whole + b"x", b"", four.read_bytes()):
        file.write_bytes(data)
        assert "network-8bit.npz: damaged or exchanged" in refused(
            "paint", "photo.png", "out/a.png", "--style", "model"
        )
    file.unlink()
    assert "network-8bit.npz: No such file" in refused("paint", "photo.png", "out/a.png", "--style", "model")
    os.mkfifo(file)
    assert "network-8bit.npz: not a file" in refused("paint", "photo.png", "out/a.png", "--style", "model")


# -- as a process: signals, libraries that write to stderr, the disk


def start(*arguments: str, **settings) -> subprocess.Popen:
    """The command in a process of its own."""
    return children.start([*COMMAND, *arguments], **settings)


def wait_for(path: Path, size: int) -> None:
    """Until the file has grown to so many bytes."""
    end = time.monotonic() + 30
    while time.monotonic() < end and not (path.exists() and path.stat().st_size >= size):
        time.sleep(0.01)
    assert path.exists()


LONG = ["--camera", "synthetic", "--size", "32x32", "--every", "1m", "--frames", "100000"]


def test_damage_that_libraries_remark_on_is_one_line_all_the_same(place):
    holed = bytearray(Path("photo.png").read_bytes())
    holed[len(holed) // 2] ^= 0xFF
    Path("holed.png").write_bytes(holed)
    cv2.imwrite("photo.tif", frame_of(90))
    Path("cut.tif").write_bytes(Path("photo.tif").read_bytes()[:2000])
    Path("frames/frame0002.tif").write_bytes(Path("cut.tif").read_bytes())
    holed = bytearray(Path("photo.tif").read_bytes())
    holed[1000:1512] = b"\xff" * 512
    Path("holed.tif").write_bytes(holed)
    for name, told in (("holed.png", "damaged"), ("cut.tif", "truncated"), ("holed.tif", "damaged")):
        run = start("paint", name, "out/a.png", "--style", "integers")
        out, err = run.communicate(timeout=60)
        assert run.returncode == 2 and out == "" and err.count("\n") == 1 and f"{name}: {told}" in err
    run = start(*film())
    out, err = run.communicate(timeout=60)
    assert run.returncode == 3 and err.count("\n") == 2 and err.startswith("skipped: image frames/frame0002.tif")
    assert os.listdir("out") == ["film.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_film_cleanly(place, number):
    run = start(*film(*LONG))
    wait_for(place / "out" / ".film.mp4.part.mkv", 4000)
    for _ in range(3):
        run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and err.count("\n") == 1 and "interrupted" in err
    assert os.listdir("out") == ["film.mp4"]
    assert f"film.mp4: {len(read_video(place / 'out' / 'film.mp4'))} frame" in out


def test_a_signal_before_the_first_frame_leaves_nothing(place):
    os.mkfifo("pause.toml")
    run = start(*film("--config", "pause.toml"))
    with open("pause.toml", "w"):  # opens once the program, well under way, waits for its options
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, "", "pleinair: interrupted\n") and os.listdir("out") == []


#: An engine that compiles for an hour in C, where no handler of Python's is run.
_COMPILING = """
import hashlib
import pleinair.backends, pleinair.rolls.developer
def compile(*_, **__):
    print("opening", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)
pleinair.backends.open_painter = pleinair.rolls.developer.open_look = compile
from pleinair.cli.main import entry
entry()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["run", "paint", "finish"])
def test_a_signal_while_an_engine_opens_ends_it_at_once(place, command, number):
    arguments = {
        "run": film(),
        "paint": ["paint", "photo.png", "out/painting.png", "--style", "integers"],
        "finish": ["finish", "roll", "--out", "out/film.mp4"],
    }[command]
    if command == "finish":
        assert capture_only(new_roll(place / "roll", frames=2), Still()) == "complete"
    run = children.start([sys.executable, "-c", _COMPILING, *arguments], deadline=600)
    assert run.stdout.readline() == "opening\n"
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, "", "pleinair: interrupted\n")
    assert os.listdir("out") == []


def test_two_runs_to_one_film_and_one_killed(place):
    raw = place / "out" / ".film.mp4.part.mkv"
    first = start(*film(*LONG))
    wait_for(raw, 4000)
    second = start(*film())
    _, err = second.communicate(timeout=60)
    assert second.returncode == 2 and err == "pleinair: --out out/film.mp4: another run is recording this film\n"
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    kept = len(read_video(raw))
    assert kept > 1 and os.listdir("out") == [raw.name]
    third = start(*film())
    _, err = third.communicate(timeout=60)
    assert third.returncode == 0 and err.count("\n") == 1 and "film.interrupted-1.mkv" in err
    assert len(read_video(place / "out" / "film.mp4")) == len(LEVELS)
    assert len(read_video(place / "out" / "film.interrupted-1.mkv")) == kept


def test_a_full_disk_keeps_what_was_recorded(place):
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    (place / "out" / "film.mp4").write_bytes(b"older")
    run = start(*film(*LONG), preexec_fn=small_disk)
    out, err = run.communicate(timeout=60)
    raw = place / "out" / ".film.mp4.part.mkv"
    # Beside the progress of a run that took ten seconds.
    said = [line for line in err.splitlines() if not line.startswith(("captured: ", "painted: ", "recorded: "))]
    assert run.returncode == 2 and out == "" and len(said) == 1
    assert "--out out/film.mp4: File too large; what was recorded is in" in err and str(raw) in err
    assert len(read_video(raw)) > 10
    assert sorted(os.listdir("out")) == [raw.name, "film.mp4"] and (place / "out" / "film.mp4").read_bytes() == b"older"


def test_results_that_nobody_takes(place):
    with open("/dev/full", "w") as full:
        run = children.run([*COMMAND, *film()], stdout=full)
    assert run.returncode == 2 and run.stderr == "pleinair: standard output: No space left on device\n"
    assert len(read_video(place / "out" / "film.mp4")) == len(LEVELS)


def test_listings_that_nobody_takes(place):
    with open("/dev/full", "w") as full:
        run = children.run([*COMMAND, "styles"], stdout=full)
    assert run.returncode == 2 and run.stderr == "pleinair: standard output: No space left on device\n"
    run = children.run([*COMMAND, "styles"], variables={"PYTHONIOENCODING": "ascii"})
    assert run.returncode == 0 and run.stderr == "" and "integers" in run.stdout
    command = " ".join(map(shlex.quote, [*COMMAND, "styles", "--json"]))
    run = children.run(["bash", "-c", f"exec 3>&1; ({command}; echo $? >&3) | true"])
    assert run.stderr == "" and run.stdout.strip() in ("0", "141")


def test_a_working_folder_that_is_gone(place):
    run = children.run(["bash", "-c", f"mkdir gone && cd gone && rmdir ../gone && {shlex.join([*COMMAND, 'styles'])}"])
    assert run.returncode == 2 and run.stderr == "pleinair: the working folder: No such file or directory\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbffps = 10\n", ""),
        (b'camera = "frames:\\u0000"\n', "camera: no value"),
        (b"frames = 1" + b"0" * 6000, "config"),
    ],
)
def test_odd_config_files(place, capsys, content, said):
    Path("run.toml").write_bytes(content)
    assert main(film("--config", "run.toml")) == (2 if said else 0)
    out, err = capsys.readouterr()
    assert (said in err and err.count("\n") == 1) if said else "at 10 fps" in out
