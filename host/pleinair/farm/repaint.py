"""A roll's painting made by a cluster, with the bytes that one machine would have written.

It may end at any moment and goes on where it was: pieces of the film that are closed stay closed. Where a worker turns
out to have lied, what it did is thrown away and painted again without it, and the roll's journal says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from pleinair.errors import OutputError
from pleinair.farm.cluster import Cluster
from pleinair.farm.developer import FarmDeveloper, forget_behind, tainted
from pleinair.farm.orders import LiedError, Orders, Tally
from pleinair.farm.painting import FarmPainting
from pleinair.farm.work import PAINT, Brush, Job, check_bits
from pleinair.rolls.developer import Event, Place, load_network
from pleinair.rolls.finish import develop_all
from pleinair.rolls.records import Distrusted
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import find_segments, uncovered
from pleinair.rolls.settings import Look

#: The share of frames that are painted twice where nobody says.
AUDIT = 0.01


@dataclass
class Harvest:
    """What came of it: what each worker did, by its name, and what was found of those that lied.

    ``spent``: processor seconds that this machine took for each of :data:`~pleinair.farm.developer.STAGES`.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    lies: dict[str, str] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)

    def add(self, tallies: dict[str, Tally], spent: dict[str, float]) -> None:
        """Take in what was done since."""
        for stage, seconds in spent.items():
            self.spent[stage] = self.spent.get(stage, 0.0) + seconds
        for worker, tally in tallies.items():
            known = self.tallies.setdefault(worker, Tally(tally.address))
            known.address, known.engine = tally.address, tally.engine
            known.frames, known.metered = known.frames + tally.frames, known.metered + tally.metered
            known.seconds, known.audited = known.seconds + tally.seconds, known.audited + tally.audited
            known.processor, known.opening = known.processor + tally.processor, known.opening + tally.opening


def paint_on(
    cluster: Cluster,
    roll: Roll,
    look: Look,
    *,
    audit: float = AUDIT,
    threads: int = 1,
    report: Callable[[int, int, dict[str, Tally]], None] = lambda done, total, tallies: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Harvest:
    """Paint on a cluster every original that no piece of a painting holds.

    ``audit`` is the share of frames that are painted twice, 0 to 1; ``threads`` the cores that a piece of work takes.
    ``report`` gets the frames that are done, all frames, and what the workers have done in this session.

    Raises FarmError, OutputError, OptionError, ModelError, EngineError.
    """
    check_bits(look.bits)
    harvest, place = Harvest(), Place.of(roll, look)
    try:
        while True:
            _take_back(roll, look, place)
            distrusted = roll.ledger.distrusted.get(look.file(), {})
            try:
                _paint(cluster, roll, look, place, [*distrusted], harvest, audit, threads, report, tell)
                return harvest
            except LiedError as error:
                harvest.lies[error.worker] = str(error)
                roll.write(Distrusted(painting=look.file(), worker=error.worker, message=str(error)))
                tell(f"{error}: all that it did for this film is thrown away and painted again")
    except OSError as error:
        raise OutputError(f"roll {roll.folder}: {error.strerror}") from error


def _take_back(roll: Roll, look: Look, place: Place) -> None:
    """Remove the pieces of a painting that come from workers that lied. Raises OSError."""
    distrusted = set(roll.ledger.distrusted.get(look.file(), {}))
    if not distrusted:
        return
    pieces = tainted(place, distrusted)
    # From the end, so that a kill in between leaves the first of them, which says that the rest must go.
    for segment in reversed(pieces):
        segment.path.unlink(missing_ok=True)
        roll.forget(segment, look)
    if pieces:
        forget_behind(place, pieces[0].first)


def _paint(
    cluster: Cluster,
    roll: Roll,
    look: Look,
    place: Place,
    distrusted: list[str],
    harvest: Harvest,
    audit: float,
    threads: int,
    report: Callable[[int, int, dict[str, Tally]], None],
    tell: Callable[[str], None],
) -> None:
    first, last = roll.oldest, roll.ledger.last
    gaps = uncovered(find_segments(place.folder), first, last)
    if not any(roll.has_originals(a, b, 1) for a, b in gaps):
        return
    model = load_network(look)
    with contextlib.closing(Brush(model, look.strokes, threads)) as own:
        orders = Orders(cluster, model, own, audit=audit, distrusted=distrusted, tell=tell)
        job = Job(PAINT, model.sha256, model.bits, look.strokes, look.tone, threads)
        developer = FarmDeveloper(place, own.painter, lambda light: FarmPainting(orders, job, own.meter, light))
        done = last + 1 - first - sum(b + 1 - a for a, b in gaps)

        def told(event: Event) -> None:
            nonlocal done
            done += 1
            report(done, last + 1 - first, orders.tallies)

        try:
            develop_all(roll, developer, first, last, told)
        finally:
            harvest.add(orders.tallies, developer.spent)
