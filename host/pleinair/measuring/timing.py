"""Times of several things measured against one another, on a machine that does other work too.

Clocks of processors rise and fall and other programs come and go, so what is compared is run in turns: a round runs
everything once, and a ratio is the median of the ratios within rounds, where both saw the same machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Called before every call with its name, the calls that are done and all that there will be.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Timing:
    """What one thing took, a round each: ``seconds`` by the clock, ``processor`` seconds of all its threads."""

    seconds: tuple[float, ...]
    processor: tuple[float, ...]

    @property
    def median(self) -> float:
        """In seconds, by the clock."""
        return statistics.median(self.seconds)

    @property
    def low(self) -> float:
        """The fastest round, in seconds."""
        return min(self.seconds)

    @property
    def high(self) -> float:
        """The slowest round, in seconds."""
        return max(self.seconds)

    @property
    def processor_median(self) -> float:
        """Processor time in seconds, all threads together."""
        return statistics.median(self.processor)

    def speed_over(self, other: Timing) -> float:
        """How many times as fast as ``other``: the median of the ratios within rounds.

        Both must be of one :func:`measure`; ValueError where their rounds are not the same number.
        """
        if len(self.seconds) != len(other.seconds):
            raise ValueError(f"{len(self.seconds)} rounds against {len(other.seconds)}: not of one measurement")
        return statistics.median(theirs / own for own, theirs in zip(self.seconds, other.seconds, strict=True))


def measure(
    callables: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    report: Report | None = None,
    rest: float = 0.0,
) -> dict[str, Timing]:
    """Run everything ``rounds`` times in turns, after ``warmup`` rounds that do not count; timings in the same order.

    Every other round runs backwards, so that nothing always follows the same neighbour, whose caches and heat it
    would inherit. ``rest`` are seconds of sleep before each call: a library's threads spin for a while after their work
    is done, and would take the next one's cores. What a callable raises passes through. ValueError for fewer rounds
    than one.
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(f"rounds {rounds}, warm-up {warmup}: at least 1 and 0")
    order = list(callables)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in order}
    done, total = 0, len(order) * (rounds + warmup)
    for turn in range(-warmup, rounds):
        for name in order if turn % 2 == 0 else order[::-1]:
            if report is not None:
                report(name, done, total)
            call = callables[name]
            if rest > 0:
                time.sleep(rest)
            worked, began = time.process_time(), time.perf_counter()
            call()
            seconds, processor = time.perf_counter() - began, time.process_time() - worked
            if turn >= 0:
                taken[name].append((seconds, processor))
            done += 1
    return {name: Timing(*map(tuple, zip(*pairs, strict=True))) for name, pairs in taken.items()}
