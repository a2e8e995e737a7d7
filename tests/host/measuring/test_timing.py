"""Measuring in turns: order, warm-up, and figures of rounds that are known."""

from __future__ import annotations

import random
import statistics
import time
from fractions import Fraction

import pytest

from pleinair.measuring import timing
from pleinair.measuring.timing import Timing, measure


class Clock:
    """Stands in for :mod:`time`: goes on only when told to."""

    def __init__(self) -> None:
        self.now = self.worked = 0.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.worked

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_runs_in_turns_forwards_and_backwards() -> None:
    calls: list[str] = []
    timings = measure({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=3, warmup=2)
    assert "".join(calls) == "abccbaabccbaabc"
    assert list(timings) == ["a", "b", "c"]
    assert all(len(t.seconds) == len(t.processor) == 3 for t in timings.values())


def test_counts_what_follows_the_warm_up_by_both_clocks(clock: Clock) -> None:
    waits = {"steady": iter([99.0, 2, 2, 2]), "wavering": iter([99.0, 5, 3, 10])}

    def call(name: str) -> None:
        seconds = next(waits[name])
        clock.now += seconds
        clock.worked += 2 * seconds  # two threads

    timings = measure({name: lambda name=name: call(name) for name in waits}, rounds=3)
    assert timings["wavering"].seconds == (5, 3, 10)
    assert timings["wavering"].processor == (10, 6, 20)
    assert (timings["wavering"].low, timings["wavering"].median, timings["wavering"].high) == (3, 5, 10)
    assert timings["wavering"].processor_median == 10
    assert timings["steady"].speed_over(timings["wavering"]) == 2.5


def test_rests_before_each_call_and_does_not_count_it(clock: Clock) -> None:
    def call() -> None:
        clock.now += 1

    assert measure({"a": call}, rounds=2, warmup=1, rest=0.25)["a"].seconds == (1, 1)
    assert clock.now == 3 * 1.25


def test_a_ratio_is_of_rounds_not_of_medians() -> None:
    """A machine that slows down for some rounds slows both, and the ratio does not see it."""
    seed = 4
    chance = random.Random(seed)
    load = [chance.choice((1.0, 3.0, 40.0)) for _ in range(9)]
    fast, slow = Timing(tuple(load), tuple(load)), Timing(tuple(7 * s for s in load), tuple(load))
    assert fast.speed_over(slow) == pytest.approx(7, rel=1e-12)
    shifted = Timing(slow.seconds[1:] + slow.seconds[:1], slow.processor)
    pairs = [Fraction(b) / Fraction(a) for a, b in zip(fast.seconds, shifted.seconds, strict=True)]
    assert fast.speed_over(shifted) == pytest.approx(float(statistics.median(pairs)), rel=1e-12)


def test_measurements_that_do_not_belong_together_are_not_compared() -> None:
    with pytest.raises(ValueError, match="2 rounds against 1"):
        Timing((1.0, 2.0), (1.0, 2.0)).speed_over(Timing((1.0,), (1.0,)))


def test_tells_what_it_is_about_to_do() -> None:
    told: list[tuple[str, int, int]] = []
    measure({"a": int, "b": int}, rounds=2, warmup=1, report=lambda *line: told.append(line))
    assert [name for name, _, _ in told] == ["b", "a", "a", "b", "b", "a"]
    assert [done for _, done, _ in told] == list(range(6)) and {total for _, _, total in told} == {6}


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 1), (-1, 0), (1, -1)])
def test_refuses_no_rounds(rounds: int, warmup: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        measure({"a": int}, rounds, warmup)


def test_what_fails_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        measure({"a": lambda: 1 // 0}, rounds=1, warmup=0)


def test_sleep_is_seconds_but_not_processor_time() -> None:
    timing_of = measure({"sleep": lambda: time.sleep(0.05)}, rounds=1, warmup=0)["sleep"]
    assert timing_of.median >= 0.05 > timing_of.processor_median
