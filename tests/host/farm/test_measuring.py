"""What sharing costs, measured: the figures are those of what was painted."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from pleinair.farm import measuring, work
from pleinair.rolls.roll import Roll
from tests.farms import Village, honest
from tests.models import write_model
from tests.networks import adaptive_network


@pytest.fixture
def roll(tmp_path, monkeypatch):
    """A roll of nine small frames in an adaptive style."""
    write_model(tmp_path / "models" / "lit", adaptive_network(2, 2), margin=24)
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    return measuring.make_roll(tmp_path / "roll", 9, (64, 48), "lit", 8)


def test_a_film_and_the_painter_alone(roll):
    with Roll.open(roll) as opened:
        assert opened.ledger.frames == 9 and opened.settings.look.light_every == 12
    alone = measuring.measure("alone", roll)
    assert alone.frames == 9 and alone.rate == pytest.approx(9 / alone.paint)
    assert list(alone.pieces) == ["00000000-00000008.mkv"]
    painter = measuring.measure("painter", roll)
    assert painter.frames == 9 and painter.rate > 0
    for way in (alone, painter):
        # Opening is most of nine small frames, and a frame's time is without it.
        (command,) = way.kinds.values()
        assert 0.3 < command.opening < command.processor
        assert way.processor_ms == pytest.approx(1e3 * (command.processor - command.opening) / 9)
    lines = "\n".join(measuring._lines("alone", alone))
    assert "    alone: 9 frames in" in lines and "processor time of a frame" in lines
    (line,) = measuring._compared({"painter": painter, "alone": alone})
    assert line.startswith(f"alone / painter: {alone.rate / painter.rate:.1%} of the rate")


def test_workers_are_opened_before_a_film(roll):
    village = Village({"anna": honest, "bert": honest})
    work._brushes.clear()
    with Roll.open(roll) as opened:
        measuring._open_workers(village, opened)
        assert village.done == 2 and not village.out
        # The film finds them open: its first answer tells of no opening.
        harvest = measuring.paint_on(village, opened, opened.settings.look)
    assert sum(tally.opening for tally in harvest.tallies.values()) == 0
    assert sum(tally.processor for tally in harvest.tallies.values()) > 0


def test_rays_processes_are_told_apart():
    kinds = [measuring._kind(command) for command in (b"ray::IDLE\0\0", b"ray::_on_worker", b"ray::RuntimeEnvAgent\0")]
    assert kinds == ["workers", "workers", "Ray's others"]
    assert measuring._kind(b"/opt/ray/core/src/ray/raylet/raylet\0--x") == "raylet"


def _burn() -> None:
    kept = bytearray(b"x") * 50_000_000
    end = time.process_time() + 1.5
    while time.process_time() < end:
        kept[0] ^= 1


def test_the_watch_sees_processor_time_and_memory():
    process = multiprocessing.get_context("spawn").Process(target=_burn)
    process.start()
    assert process.pid is not None
    watch = measuring._Watch(process.pid)
    while process.is_alive():
        watch.look()
        time.sleep(0.05)
    (kind,) = watch.kinds().values()
    assert 1.2 < kind.processor < 5 and 50 < max(kind.memory) < 150


def test_what_failed_is_said(tmp_path):
    with pytest.raises(ValueError, match="alone: it failed"):
        measuring.measure("alone", tmp_path / "none")
