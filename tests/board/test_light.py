"""Adaptive networks on emulated boards: the processor's pixels in any light, lights in flight, faults of registers."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cameras.opening import open_camera
from pleinair.cli.main import main
from pleinair.emulator.board import StationsMaker
from pleinair.emulator.fabric import parse_faults
from pleinair.emulator.stand_in import light_map_of
from pleinair.emulator.stations import Stations
from pleinair.errors import LightError, OptionError
from pleinair.films.lighting import FilmLight, Lighting
from pleinair.fpga import light_port
from pleinair.fpga import painter as accelerator_painter
from pleinair.fpga.driver import Accelerator, AcceleratorError
from pleinair.fpga.light_port import APPLY, FRAMES, METER, METERED, STATUS
from pleinair.fpga.overlay import check_model
from pleinair.network.light import light_of
from tests.board.boards import FAMILIES, Board
from tests.board.test_film import shell
from tests.films import read_video, write_frames
from tests.house import SHARED
from tests.networks import adaptive_network

ICECUBE = SHARED / "data" / "timelapse" / "icecube"


@pytest.fixture(autouse=True)
def short_rest(monkeypatch):
    monkeypatch.setattr(accelerator_painter, "REST", 0.2)
    monkeypatch.setattr(light_port, "_PATIENCE", 0.2)


def lit(board, *arguments, **options) -> Board:
    return board(*arguments, adaptive=True, **options)


def shades(b, count, width, height):
    """Frames of noise whose light differs widely."""
    frames = []
    for k, frame in enumerate(b.frames(count, width, height)):
        dark = (k % 3 + 1) * 70
        frames.append((frame.astype(np.int64) * dark // 255 + 40 * (k % 2)).astype(np.uint8))
    return frames


def equal(paintings, expected):
    return all(np.array_equal(a, b) for a, b in zip(paintings, expected, strict=True))


def exact_size(b):
    margin = b.model.margin
    return b.deployment.width - 2 * margin, b.deployment.height - 2 * margin


# -- pixels


@pytest.mark.parametrize("bits, mapped", ((4, False), (8, True), (16, False)))
@pytest.mark.parametrize("metering", (True, False))
def test_each_frame_in_its_own_light_is_the_references(board, bits, mapped, metering):
    """Smaller than the tile, equal to it, larger along either side or both, odd."""
    b = lit(board, FAMILIES[bits == 8 and -1], bits, blocks=1, mapped=mapped, metering=metering, width=112, height=80)
    painter, plain = b.adaptive_painter(), b.adaptive_reference()
    for width, height in (exact_size(b), (17, 29), (140, 20), (101, 67)):
        (frame,) = shades(b, 1, width, height)
        assert painter.sums(frame) == plain.sums(frame), (width, height)
        assert equal([painter.paint(frame)], [plain.paint(frame)]), (width, height)
    assert painter.reloads == painter.replaced == 0
    assert bool(painter.accelerator.stages.metered) == metering


@pytest.mark.parametrize("bits, mapped", ((4, False), (8, True)))
@pytest.mark.parametrize("spare", (0, 5))
def test_a_trimmed_accelerator_meters_and_paints_what_the_reference_does(board, bits, mapped, spare):
    """Its paintings and its stations lack their outer pixels; the margin is what they lack, or wider than that."""
    b = lit(board, bits=bits, blocks=1, mapped=mapped, width=112, height=80, trimmed=True, margin=20 + spare)
    painter, plain = b.adaptive_painter(), b.adaptive_reference()
    inset = b.deployment.inset
    assert 0 < inset <= 20 and painter.accelerator.output(0).shape == (80 - 2 * inset, 112 - 2 * inset, 3)
    enter, *_ = b.deployment.light.stations
    assert (enter.height, enter.width) == (80 // 4 - 2, 112 // 4 - 2)
    for width, height in (exact_size(b), (17, 29), (140, 20), (101, 67), (160, 130)):
        (frame,) = shades(b, 1, width, height)
        assert painter.sums(frame) == plain.sums(frame), (width, height)
        assert equal([painter.paint(frame)], [plain.paint(frame)]), (width, height)
    frames = shades(b, 6, 101, 67)
    films = [p.lit_by(FilmLight(Lighting("frame", 2))).paint_each(iter(frames)) for p in (painter, plain)]
    assert equal(*map(list, films))
    assert painter.reloads == painter.replaced == 0 and painter.accelerator.stages.metered


def test_a_trimmed_accelerator_of_another_shape_is_refused(board):
    b = lit(board, blocks=1, width=112, height=80, trimmed=True, margin=20)
    object.__setattr__(b.deployment, "inset", b.deployment.inset - 1)
    with pytest.raises(OptionError, match="paints without"):
        b.adaptive_painter()


def test_a_margin_that_trimming_takes_is_refused(board):
    b = lit(board, blocks=1, width=112, height=80, trimmed=True, margin=12)
    with pytest.raises(OptionError, match="more than the margin of 12"):
        b.adaptive_painter()


@pytest.mark.parametrize("lighting", (Lighting(), Lighting("frame", 3), Lighting("scene"), Lighting("fixed")), ids=str)
@pytest.mark.parametrize("size", ("equal", (120, 40)), ids=str)
def test_films_in_any_light(board, lighting, size):
    b = lit(board, height=80, width=112)
    frames = shades(b, 10, *(exact_size(b) if size == "equal" else size))
    films = []
    for painter in (b.adaptive_painter(), b.adaptive_reference()):
        film = painter.lit_by(None if lighting.own else FilmLight(lighting))
        films.append(list(film.paint_each(iter(frames))))
        assert film.spent.frames == len(frames) and film.adaptive
    assert equal(*films)


def test_three_lights_back_to_back(board):
    """Two tiles in flight, each in another light: written while the one before is painted, station after station."""
    b = lit(board, stations={"pace": 0.01}, height=80, width=112)
    painter, plain = b.adaptive_painter(), b.adaptive_reference()
    frames = shades(b, 9, *exact_size(b))
    lights = [plain.measure(frame) for frame in frames[:3]]
    assert len(set(lights)) == 3
    order = iter(lights * 3)
    film = painter.lit_by(lambda *_: next(order))
    expected = [plain.paint_in(frame, lights[k % 3]) for k, frame in enumerate(frames)]
    assert equal(film.paint_each(iter(frames)), expected)
    assert painter.reloads == 0 and painter.accelerator.stages.light > 0


def test_the_same_light_is_written_once(board):
    b = lit(board)
    painter = b.adaptive_painter()
    frames = shades(b, 4, *exact_size(b))
    light = painter.measure(frames[0])
    painter.paint_in(frames[0], light)
    written = b.power.light_writes
    for frame in frames:
        painter.paint_in(frame, light)
    assert b.power.light_writes == written
    painter.paint_in(frames[0], painter.average)
    assert b.power.light_writes > written


def test_another_networks_light_is_refused(board):
    b = lit(board)
    painter = b.adaptive_painter()
    frame = shades(b, 1, 30, 20)[0]
    foreign = light_of(adaptive_network(9, 4, 0, 8, 3))
    with pytest.raises(LightError, match="another network"):
        painter.paint_in(frame, foreign)
    with pytest.raises(LightError, match="another network"):
        painter.lit_by(lambda *_: foreign).paint(frame)
    assert equal([painter.paint(frame)], [b.adaptive_reference().paint(frame)])


def test_the_film_of_real_frames_is_the_processors(board, tmp_path):
    b = lit(board, blocks=1, height=96, width=128)
    camera = ICECUBE
    if not ICECUBE.is_dir():
        write_frames(tmp_path / "frames", [40, 90, 140], "png")
        camera = tmp_path / "frames"
    for size in ((41, 33), exact_size(b), (121, 81)):
        frames = [shot.image for shot in _shots(camera, size)]
        painters = b.adaptive_painter(), open_painter(b.model, "cpu", 1)
        assert equal(*(list(painter.paint_each(iter(frames))) for painter in painters)), size


def _shots(folder, size):
    return list(open_camera(f"frames:{folder}", size=size, frames=3).frames(0))


# -- who stops early


def test_who_stops_listening_leaves_nothing_armed(board):
    b = lit(board, stations={"pace": 0.005})
    painter, plain = b.adaptive_painter(), b.adaptive_reference()
    frames = shades(b, 5, *exact_size(b))
    lights = [plain.measure(frame) for frame in frames]
    order = iter(lights)
    film = painter.lit_by(lambda *_: next(order)).paint_each(iter(frames))
    next(film)
    film.close()
    for frame, light in zip(frames, reversed(lights), strict=True):
        assert equal([painter.paint_in(frame, light)], [plain.paint_in(frame, light)])
    assert painter.reloads == 0


# -- faults of the frames: the light is kept


@pytest.mark.parametrize("kind", ("hang", "late", "short", "bus"))
@pytest.mark.parametrize("number", (5, 7, 10))
def test_lights_are_kept_over_reloads(board, kind, number):
    """While metering, and while painting."""
    b = lit(board, faults=f"{kind}@{number}")
    painter, plain = b.adaptive_painter(), b.adaptive_reference()
    frames = shades(b, 3, *exact_size(b))
    assert equal(painter.paint_each(iter(frames)), map(plain.paint, frames))
    assert painter.reloads == 1 and painter.replaced == 0


@pytest.mark.parametrize("kind", ("hang", "short"))
def test_two_lights_in_flight_are_kept_over_reloads(board, kind):
    b = lit(board, faults=f"{kind}@6 {kind}@13", stations={"pace": 0.005})
    painter, plain = b.adaptive_painter(), b.adaptive_reference()
    frames = shades(b, 6, *exact_size(b))
    lights = [plain.measure(frame) for frame in frames]
    order = iter(lights)
    expected = [plain.paint_in(frame, light) for frame, light in zip(frames, lights, strict=True)]
    assert equal(painter.lit_by(lambda *_: next(order)).paint_each(iter(frames)), expected)
    assert painter.reloads == 2


def test_the_fallback_meters_and_paints_while_the_accelerator_does_not(board):
    b = lit(board, faults="hang@7+")
    plain = b.adaptive_reference()
    painter = b.adaptive_painter(b.adaptive_reference())
    frames = shades(b, 4, *exact_size(b))
    assert equal(painter.paint_each(iter(frames)), map(plain.paint, frames))
    assert painter.replaced
    b.power.faults.clear()
    painter._resting_until = 0
    replaced = painter.replaced
    assert equal(painter.paint_each(iter(frames)), map(plain.paint, frames))
    assert painter.replaced == replaced


# -- faults of the registers: noticed before a wrong frame is given


def word(b, station, register):
    """The number of a station's register, from the first of the port."""
    return b.deployment.light.stations[station].registers // 4 + register


def test_an_accelerator_in_the_light_of_another_network_is_refused(board):
    """As when a bitstream was made of other weights: the registers hold other numbers after a load."""
    b = lit(board, stations={"holds": light_of(adaptive_network(9, 4, 0, 8, 3))})
    with pytest.raises(AcceleratorError, match="holds another light than the network's average"):
        b.adaptive_painter()


def test_a_map_of_another_build_is_refused(board):
    b = lit(board)
    other = light_map_of(b.network, 96, 96)
    assert other is not None
    b.device._compute = StationsMaker(lambda: Stations(b.network, other, paint=b.compute_lit))
    with pytest.raises(AcceleratorError, match=r"registers are of light map [0-9a-f]{8}, version 1, not of"):
        b.adaptive_painter()


def test_models_are_told_apart_by_their_light(board):
    b = lit(board)
    check_model(b.deployment, b.model)
    with pytest.raises(OptionError, match="has no registers for light, which model needs"):
        check_model(replace(b.deployment, light=None), b.model)
    wrong = light_map_of(adaptive_network(9, 4, 0, 8, 3), b.deployment.height, b.deployment.width)
    with pytest.raises(OptionError, match="hold the light of another network"):
        check_model(replace(b.deployment, light=wrong), b.model)
    own = b.deployment.light
    for light, said in (
        (replace(own, stations=own.stations[::-1]), "station up1 of its map is not the network's enter"),
        (replace(own, stations=own.stations[:1]), "its map has 1 stations, the network 2"),
    ):
        with pytest.raises(OptionError, match=said):
            check_model(replace(b.deployment, light=light), b.model)


@pytest.mark.parametrize("state", (0, 1))
@pytest.mark.parametrize("register", (FRAMES, APPLY, STATUS, METER, METERED))
@pytest.mark.parametrize("bit", (0, 1))
def test_a_register_stuck_at_a_bit_is_noticed(board, register, bit, state):
    """Stuck from the start, or from the film on: no wrong frame comes out, only an error, or the right one."""
    for late in (False, True):
        b = lit(board)
        fault = word(b, 1, register) * 32 + bit
        b.forgiven = True
        plain, frames = b.adaptive_reference(), shades(b, 6, *exact_size(b))
        painted = []
        try:
            if not late:
                b.power.faults += parse_faults(f"stuck{state}@{fault}")
            painter = b.adaptive_painter()
            if late:
                b.fabric.light.stuck[fault] = state
                b.power.faults += parse_faults(f"stuck{state}@{fault}")
            for painting in painter.paint_each(iter(frames)):
                painted.append(painting)
        except AcceleratorError as error:
            assert "station" in str(error) and "\n" not in str(error)
        assert equal(painted, [plain.paint(frame) for frame in frames[: len(painted)]])
        # Bits that no value here has can be stuck at 0 for ever.
        assert len(painted) < len(frames) or state == 0


@pytest.mark.parametrize("others", (0, 1))
@pytest.mark.parametrize("fallback", (False, True))
def test_a_light_that_cannot_be_written_ends_the_film_or_is_the_fallbacks(board, monkeypatch, fallback, others):
    """The check before the first frame passes each time, as it writes other numbers."""
    monkeypatch.setattr(accelerator_painter, "REST", 100)
    b = lit(board)
    plain = b.adaptive_reference()
    frames = shades(b, 1 + others, *exact_size(b))
    lights = [plain.measure(frame) for frame in frames]
    real = light_port.LightPort.show

    def show(self, light, frame, deadline):
        if light == lights[-1]:
            raise AcceleratorError("station enter of the accelerator does not hold the light that was written")
        real(self, light, frame, deadline)

    monkeypatch.setattr(light_port.LightPort, "show", show)
    painter = b.adaptive_painter(b.adaptive_reference() if fallback else None)
    order = iter(lights)
    film = painter.lit_by(lambda *_: next(order)).paint_each(iter(frames))
    if fallback:
        assert equal(film, [plain.paint_in(*pair) for pair in zip(frames, lights, strict=True)])
        assert painter.replaced
    else:
        with pytest.raises(AcceleratorError, match="does not hold the light"):
            list(film)


@pytest.mark.parametrize("state", (0, 1))
@pytest.mark.parametrize("column, bit", ((0, 3), (0, 31), (1, 0), (2, 1), (2, 4), (2, 9), (3, 0)))
def test_a_table_stuck_at_a_bit_is_noticed(board, column, bit, state):
    b = lit(board)
    station = b.deployment.light.stations[0]
    fault = (station.table // 4 + 4 * (station.channels - 1) + column) * 32 + bit
    painter, plain = b.adaptive_painter(b.adaptive_reference()), b.adaptive_reference()
    frames = shades(b, 6, *exact_size(b))
    b.fabric.light.stuck[fault] = state
    b.power.faults += parse_faults(f"stuck{state}@{fault}")
    assert equal(painter.paint_each(iter(frames)), map(plain.paint, frames))
    assert painter.replaced or state == 0 or column == 1


@pytest.mark.parametrize(
    "column, bits", ((0, (0, 3, 9, 12, 17, 31)), (1, (5,)), (2, (0, 9, 15, 21, 25, 31)), (3, (0,)))
)
@pytest.mark.parametrize("state", (0, 1))
def test_sums_stuck_at_a_bit_are_noticed_by_the_check(board, column, bits, state):
    b = lit(board)
    for station in b.deployment.light.stations:
        most = (255, 0, 65025, 65025 >> 32)[column] * station.height * station.width
        for bit in bits:
            b.power.faults[:] = parse_faults(f"stuck{state}@{(station.sums // 4 + 8 + column) * 32 + bit}")
            if state or most >> bit:
                with pytest.raises(AcceleratorError, match="meter"):
                    b.adaptive_painter()
            else:
                b.adaptive_painter()


@pytest.mark.parametrize("number", (0, 3, 40, 90, 91, 92, 170, 400, 410))
def test_a_torn_write_is_noticed(board, number):
    """Of a table, of APPLY, of what shall be metered; in the check or later. The frame is painted again, right."""
    b = lit(board, faults=f"torn@{number}")
    painter, plain = b.adaptive_painter(), b.adaptive_reference()
    frames = shades(b, 3, *exact_size(b))
    assert equal(painter.paint_each(iter(frames)), map(plain.paint, frames))


def test_every_write_that_is_lost_once(board):
    """Each is noticed, or was of a word that stood there already: the frame is right."""
    b = lit(board)
    b.adaptive_painter()
    first = b.power.light_writes
    frame = shades(b, 1, 20, 16)[0]
    expected = b.adaptive_reference().paint(frame)
    noticed = 0
    painter = b.adaptive_painter()
    start = b.power.light_writes
    painter.paint(frame)
    for step in range(0, b.power.light_writes - start, 7):
        b.power.faults[:] = parse_faults(f"torn@{b.power.light_writes + step}")
        before = painter.reloads
        assert equal([painter.paint(frame)], [expected]), step
        noticed += painter.reloads - before
        painter.paint_in(frame, painter.average)
    assert first and noticed


def test_lasting_torn_writes_end_in_a_clear_error(board):
    b = lit(board)
    painter = b.adaptive_painter()
    b.power.faults += parse_faults(f"torn@{b.power.light_writes}+")
    with pytest.raises(AcceleratorError, match=r"station \S+ of the accelerator"):
        painter.paint(shades(b, 1, *exact_size(b))[0])


def test_a_port_that_does_not_answer(board):
    b = lit(board)

    class Deaf(Accelerator):
        """Its port's addresses are nobody's."""

        def registers(self, address, size):
            return super().registers(0xB000_0000, size)

    with pytest.raises(
        AcceleratorError, match="the board failed to read a register: bus error: nothing answers at 0xb0"
    ):
        b.adaptive_painter(kind=Deaf)


def test_an_overlay_without_the_port(board, monkeypatch):
    b = lit(board)
    monkeypatch.setattr(light_port, "light_port", lambda _: (0, 0))
    with pytest.raises(AcceleratorError, match="no port for all of the light"):
        b.adaptive_painter()


def test_an_overlay_is_opened_by_its_name(board):
    """With ONNX Runtime in the accelerator's place."""
    b = lit(board, blocks=1)
    began = time.monotonic()
    painter = open_painter(b.model, f"fpga:emulated:{b.deployment.folder}")
    try:
        frames = shades(b, 2, 100, 70)
        assert equal(map(painter.paint, frames), map(b.adaptive_reference().paint, frames))
        assert painter.name == f"{b.deployment.board} (emulated) accelerator of 96x64, each frame in its own light"
        assert painter.adaptive and time.monotonic() - began < 300
    finally:
        painter.close()


def test_a_roll_of_an_adaptive_style_is_the_references(board, tmp_path):
    """In any light, through faults, painted by a process that is started again."""
    b = lit(board)
    write_frames(tmp_path / "frames", list(range(20, 240, 30)), "png")
    films = []
    accelerated = ["--backend", "fpga", "--overlay", f"emulated:{b.deployment.folder}"]
    plain = ["--backend", "reference", "--style", b.model.folder]
    for k, (options, trouble) in enumerate(((accelerated, "hang@12 torn@300"), (plain, ""))):
        films.append(tmp_path / f"{k}.mp4")
        status, _, err = shell(
            *("run", "--camera", f"frames:{tmp_path / 'frames'}", *options, "--light-every", 3, "--keep-free", "1MB"),
            *("--roll", tmp_path / f"roll{k}", "--out", films[-1]),
            PLEINAIR_FAULTS=trouble,
        )
        assert status == 0, err
    videos = [read_video(film) for film in films]
    assert len(videos[0]) == len(videos[1]) == 8
    assert equal(*videos)


@pytest.mark.parametrize("light", ("frame", "scene", "fixed"))
def test_the_command_films_in_any_light(board, tmp_path, light):
    b = lit(board)
    write_frames(tmp_path / "frames", [30, 120, 200, 90], "png")
    films = []
    accelerated = ["--backend", "fpga", "--overlay", f"emulated:{b.deployment.folder}"]
    for k, options in enumerate((accelerated, ["--backend", "reference", "--style", b.model.folder])):
        films.append(tmp_path / f"{k}.mp4")
        options = ["--camera", f"frames:{tmp_path / 'frames'}", *options, "--light", light, "--out", str(films[-1])]
        assert main(["run", *options]) == 0
    assert equal(*map(read_video, films))
