"""Painting on emulated boards: the processor's pixels for any frame, two tiles in flight, and no frame lost."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pleinair.backends import open_accelerator, open_painter
from pleinair.errors import ImageError, ModelError, OptionError
from pleinair.fpga import driver
from pleinair.fpga import painter as accelerator_painter
from pleinair.fpga.driver import Accelerator, AcceleratorError
from pleinair.fpga.overlay import Overlay, check_model
from pleinair.fpga.painter import AcceleratorPainter
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.painting.strokes import with_strokes
from tests.board.boards import FAMILIES, PATIENCE
from tests.models import write_model
from tests.networks import floats_like, random_network


@pytest.fixture(autouse=True)
def short_rest(monkeypatch):
    monkeypatch.setattr(accelerator_painter, "REST", 0.2)


def equal(paintings, expected):
    return all(np.array_equal(a, b) for a, b in zip(paintings, expected, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bits", (4, 8, 16))
def test_frames_of_any_size_are_painted_as_by_the_processor(board, bits, family):
    """Smaller than the tile, equal to it, larger along either side or both, odd."""
    b = board(family, bits, blocks=1)
    painter, processor, plain = b.painter(), open_painter(b.model, "cpu", 1), b.reference()
    margin = b.model.margin
    exact = (b.deployment.width - 2 * margin, b.deployment.height - 2 * margin)
    for width, height in (exact, (16, 16), (17, 19), (33, 61), (200, 20), (23, 130), (151, 99)):
        (frame,) = b.frames(1, width, height, width)
        painting = painter.paint(frame)
        assert equal([painting, painting], [plain.paint(frame), processor.paint(frame)]), (width, height)
    assert painter.reloads == painter.replaced == 0


@pytest.mark.parametrize("strokes", (2, 3))
def test_strokes_are_the_processor_s(board, strokes):
    b = board(blocks=1)
    painter, plain = with_strokes(b.painter(), strokes), with_strokes(b.reference(), strokes)
    frames = [f for size in ((100, 70), (51, 64)) for f in b.frames(2, *size)]
    assert equal(painter.paint_each(iter(frames)), map(plain.paint, frames))
    assert equal(map(painter.paint, frames), map(plain.paint, frames))


def test_a_frame_of_the_built_size_is_one_tile(board):
    b = board()
    painter = b.painter()
    before = painter.accelerator.stages.tiles
    margin = b.model.margin
    painter.paint(b.frames(1, b.deployment.width - 2 * margin, b.deployment.height - 2 * margin)[0])
    assert painter.accelerator.stages.tiles == before + 1


def test_films_of_changing_size(board):
    b = board()
    frames = [f for size in ((30, 20), (100, 70), (29, 21)) for f in b.frames(2, *size)]
    assert equal(b.painter().paint_each(iter(frames)), map(b.reference().paint, frames))


@pytest.mark.parametrize("size, count", (((150, 60), 1), ((60, 30), 6), ((150, 60), 3)))
def test_the_next_tile_is_filled_while_one_computes(board, size, count):
    b = board()
    events = []

    class Noted(Accelerator):
        """An accelerator that notes what is asked of it."""

        def input(self, slot):
            events.append(("input", slot))
            return super().input(slot)

        def start(self, slot):
            super().start(slot)
            events.append(("start", slot))

        def finish(self, slot):
            super().finish(slot)
            events.append(("finish", slot))

        def output(self, slot):
            events.append(("output", slot))
            return super().output(slot)

    painter = b.painter(kind=Noted)
    events.clear()  # the check of the network
    frames = b.frames(count, *size)
    assert equal(painter.paint_each(iter(frames)), map(b.reference().paint, frames))
    tiles = len(events) // 4
    assert tiles > 2
    expected = [("input", 0), ("start", 0)]
    for k in range(1, tiles):
        # Between a start and its end the next is filled; what ends makes room at once, and is collected meanwhile.
        last = (k - 1) % 2
        expected += [("input", k % 2), ("finish", last), ("start", k % 2), ("output", last)]
    last = (tiles - 1) % 2
    assert events == [*expected, ("finish", last), ("output", last)]


def test_the_margin_below_the_halo(board):
    b = board(margin=4)
    painter = b.painter()
    for width, height in ((88, 56), (150, 90)):
        (frame,) = b.frames(1, width, height)
        assert equal([painter.paint(frame)], [b.reference().paint(frame)])
    with pytest.raises(ImageError, match="margin of 4 is below the network's halo"):
        painter.paint(b.frames(1, 30, 30)[0])


# -- the right network


def test_an_accelerator_that_computes_another_network_is_refused(board):
    other = random_network(2, 4, 0, 8, 3)
    b = board(compute=lambda data: reference.run(other, data.reshape(64, 96, 3)).reshape(-1))
    with pytest.raises(AcceleratorError, match="paints otherwise than the network of model"):
        b.painter()


@pytest.mark.parametrize("row, column, seen", ((0, 0, True), (63, 95, True), (40, 50, False)))
def test_which_wrong_pixels_the_check_sees(board, row, column, seen):
    """It compares two corners: a constant fault of one pixel elsewhere is not its business."""
    b = board(compute=lambda data: wrong(data))

    def wrong(data):
        painted = b.compute(data).copy()
        painted[(row * 96 + column) * 3] ^= 1
        return painted

    if seen:
        with pytest.raises(AcceleratorError, match="paints otherwise"):
            b.painter()
    else:
        b.painter()


def test_a_stream_of_the_wrong_length_shifts_the_second_tile(board):
    """An engine counts words, so one too many waits for the next frame; the check paints two."""
    left = []

    def compute(data):
        stream = np.concatenate([*left, b.compute(data)])
        left[:] = [stream[data.size - 3 :]]
        return stream[: data.size]

    b = board(compute=compute)
    with pytest.raises(AcceleratorError, match="paints otherwise"):
        b.painter()


def test_models_that_differ_are_told_apart(board, tmp_path):
    b = board()
    check_model(b.deployment, b.model)
    same = load_model(str(write_model(tmp_path / "same", b.network, b.model.margin, 2)), 8)
    check_model(b.deployment, same)
    other = load_model(str(write_model(tmp_path / "other", random_network(5, 4, 0, 8, 3), b.model.margin, 2)), 8)
    with pytest.raises(OptionError, match=r"paints model at 8 bits, network \w{12}, not other at 8 bits"):
        check_model(b.deployment, other)
    for key, margin, grain in (("margin", b.model.margin + 4, 2), ("grain", b.model.margin, 0)):
        model = load_model(str(write_model(tmp_path / key, b.network, margin, grain)), 8)
        with pytest.raises(OptionError, match=f"built for a {key}"):
            check_model(b.deployment, model)


def test_an_overlay_is_opened_by_its_name(board, tmp_path):
    b = board()
    painter = open_painter(b.model, f"fpga:emulated:{b.deployment.folder}")
    try:
        (frame,) = b.frames(1, 40, 30)
        assert equal([painter.paint(frame)], [b.reference().paint(frame)])
        assert painter.name == f"{b.deployment.board} (emulated) accelerator of 96x64"
    finally:
        painter.close()
    other = load_model(str(write_model(tmp_path / "other", random_network(5, 4, 0, 8, 3))), 8)
    with pytest.raises(OptionError, match="paints model at 8 bits"):
        open_painter(other, f"fpga:emulated:{b.deployment.folder}")
    card = b.deployment.folder / "model" / "card.json"
    card.write_text(card.read_text() + " ")
    with pytest.raises(Exception, match="card.json is damaged"):
        open_painter(b.model, f"fpga:emulated:{b.deployment.folder}")


def test_a_float_network_has_no_accelerator(board, tmp_path):
    b = board()
    floats = write_model(tmp_path / "floats", floats_like(random_network(5, 4, 0)))
    with pytest.raises((OptionError, ModelError)):
        open_painter(load_model(str(floats), 32), f"fpga:emulated:{b.deployment.folder}")


# -- faults

#: What a check takes: two frames; the film's are those from the third on.
FAULTS = ("hang", "late", "short", "bus")


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("size", ((60, 30), (150, 60)))
def test_after_one_fault_the_frame_is_painted_again(board, kind, size):
    b = board(faults=f"{kind}@3")
    painter = b.painter()
    frames = b.frames(4, *size)
    began = time.monotonic()
    assert equal(painter.paint_each(iter(frames)), map(b.reference().paint, frames))
    assert painter.reloads == 1 and painter.replaced == 0
    assert time.monotonic() - began < PATIENCE
    assert len(b.device.memory.live) == 4


@pytest.mark.parametrize("kind", FAULTS)
def test_a_lasting_fault_ends_in_a_clear_error_within_the_deadline(board, kind):
    b = board(faults=f"{kind}@3+")
    painter = b.painter()
    frames = b.frames(3, 60, 30)
    began = time.monotonic()
    with pytest.raises(AcceleratorError) as failure:
        painter.paint(frames[0])
        painter.paint(frames[1])
    # One deadline of the frame, and one for each attempt to mend.
    assert time.monotonic() - began < (1 + accelerator_painter.ATTEMPTS) * (painter.accelerator.deadline + 2)
    assert "accelerator" in str(failure.value) and "\n" not in str(failure.value)
    # Once it works again, so does the painter.
    b.power.faults.clear()
    assert equal([painter.paint(frames[2])], [b.reference().paint(frames[2])])
    assert len(b.device.memory.live) == 4


@pytest.mark.parametrize("kind", FAULTS)
def test_the_fallback_paints_while_the_accelerator_does_not(board, kind):
    b = board(faults=f"{kind}@3+")
    painter = b.painter(fallback=open_painter(b.model, "cpu", 1))
    frames = b.frames(6, 60, 30)
    expected = [b.reference().paint(frame) for frame in frames]
    assert equal(painter.paint_each(iter(frames[:3])), expected[:3])
    assert painter.replaced >= 2
    b.power.faults.clear()
    time.sleep(accelerator_painter.REST)
    painter._resting_until = 0
    replaced = painter.replaced
    assert equal(painter.paint_each(iter(frames[3:])), expected[3:])
    assert painter.replaced == replaced


def test_the_same_frame_failing_again_and_again_is_given_to_the_fallback(board, monkeypatch):
    """Each time the overlay is loaded anew all is well, but for this frame."""
    monkeypatch.setattr(accelerator_painter, "REST", 100)
    b = board(faults="hang@3 hang@6 hang@9 hang@12")
    painter = b.painter(fallback=b.reference())
    frames = b.frames(3, 60, 30)
    assert equal([painter.paint(frame) for frame in frames], map(b.reference().paint, frames))
    assert painter.reloads == accelerator_painter.ATTEMPTS and painter.replaced == 2


def test_no_memory_when_the_overlay_is_loaded_anew(board):
    b = board(faults="hang@3 memory@4 memory@6")
    painter = b.painter()
    frames = b.frames(3, 60, 30)
    assert equal([painter.paint(frame) for frame in frames], map(b.reference().paint, frames))
    assert painter.reloads == 3 and len(b.device.memory.live) == 4


@pytest.mark.parametrize("faults", ("memory@0+", "hang@0+", "short@1+", "bus@0+"))
def test_an_accelerator_that_is_broken_from_the_start(board, faults, monkeypatch):
    monkeypatch.setattr(driver, "_LEAST_DEADLINE", 0.2)
    b = board()
    monkeypatch.setenv("PLEINAIR_FAULTS", faults)
    (frame,) = b.frames(1, 60, 30)
    accelerator = open_accelerator(Overlay(b.deployment.folder, "emulated"))
    accelerator._first_deadline = 0.3
    with pytest.raises(AcceleratorError):
        AcceleratorPainter(b.model, accelerator)
    accelerator.close()
    assert not accelerator.device.memory.live
    painter = AcceleratorPainter(b.model, accelerator, b.reference())
    assert equal([painter.paint(frame)], [b.reference().paint(frame)]) and painter.replaced == 1
    accelerator.device.power.faults.clear()
    painter._resting_until = 0
    assert equal([painter.paint(frame)], [b.reference().paint(frame)]) and painter.replaced == 1
    painter.close()
    assert not accelerator.device.memory.live


def test_who_stops_listening_leaves_empty_slots(board):
    b = board()
    painter = b.painter()
    frames = b.frames(5, 60, 30)
    film = painter.paint_each(iter(frames))
    next(film)
    film.close()
    assert equal(painter.paint_each(iter(frames)), map(b.reference().paint, frames))

    def broken():
        yield frames[0]
        yield frames[1]
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="camera"):
        list(painter.paint_each(broken()))
    assert equal([painter.paint(frames[2])], [b.reference().paint(frames[2])])


@pytest.mark.parametrize("size", ((60, 30), (150, 60)))
def test_errors_come_after_the_paintings_before_them(board, size):
    """Tiles of earlier frames are in flight when the camera fails, or gives a frame of another kind."""
    b = board()
    painter = b.painter()
    frames = b.frames(3, *size)
    expected = [b.reference().paint(frame) for frame in frames]

    def broken():
        yield from frames
        raise OSError("the camera is gone")

    for source, error in ((broken(), OSError), ([*frames, frames[0].astype(np.float32), frames[1]], ImageError)):
        paintings = []
        with pytest.raises(error):
            for painting in painter.paint_each(source):
                paintings.append(painting.copy())
        assert equal(paintings, expected)
    assert equal([painter.paint(frames[2])], [expected[2]]) and painter.reloads == 0


def test_what_painting_took_is_told_without_waiting_for_frames(board):
    b = board()
    painter = b.painter()
    frames = b.frames(4, 60, 30)
    before = painter.spent

    def slow():
        for frame in frames:
            time.sleep(0.1)
            yield frame

    began = time.monotonic()
    assert equal(painter.paint_each(slow()), map(b.reference().paint, frames))
    spent = painter.spent.since(before)
    assert spent.frames == 4 and 0 < spent.processor_seconds <= spent.seconds < time.monotonic() - began - 4 * 0.1
    assert "accelerator of 96x64" in repr(painter)


def test_a_thousand_frames_in_the_same_memory(board):
    b = board()
    painter = b.painter()
    frames = b.frames(10, 25, 17)
    expected = [b.reference().paint(frame) for frame in frames]
    allocations, live = b.device.memory.allocations, sorted(b.device.memory.live)
    for k, painting in enumerate(painter.paint_each(frames[k % 10] for k in range(1000))):
        assert np.array_equal(painting, expected[k % 10])
    assert k == 999
    assert b.device.memory.allocations == allocations == 4
    assert sorted(b.device.memory.live) == live


def test_a_closed_painter_paints_no_more(board):
    b = board()
    painter = b.painter()
    painter.close()
    painter.close()
    with pytest.raises(RuntimeError, match="closed"):
        painter.paint(b.frames(1, 30, 30)[0])
