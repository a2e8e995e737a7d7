"""What the subcommands that share their work among machines have in common: ``--on`` and what belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pleinair.backends import CPU
from pleinair.cli.console import Bars, remark, spinner
from pleinair.cli.types import ON, SHARE
from pleinair.engines.exact import AUTO
from pleinair.errors import OptionError

if TYPE_CHECKING:
    from pleinair.farm.cluster import Cluster, Where
    from pleinair.farm.orders import Tally
    from pleinair.rolls.roll import Roll
    from pleinair.rolls.settings import Look

on_option = click.option(
    "--on",
    type=ON,
    help="Share the work among the machines of a Ray cluster; without an address, among the cores of this machine.",
)


def farm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--on`` and ``--audit`` of what paints."""
    audit = click.option(
        "--audit",
        type=SHARE,
        help="With --on: paint this share of the frames twice, on two machines, and compare.  [default: 1%]",
    )
    return on_option(audit(command))


def check_farmed(on: Where | None, audit: float | None, *, bits: int, backend: str, engine: str) -> None:
    """Raise OptionError for an option that needs ``--on``, or does not go with it; FarmError where Ray is missing."""
    if on is None:
        if audit is not None:
            raise OptionError(f"{100 * audit:g}%: needs --on", option="audit")
        return
    if backend != CPU:
        raise OptionError(f"{backend}: with --on, machines paint with their processors", option="backend")
    if engine != AUTO:
        raise OptionError(f"{engine}: with --on, each machine chooses the fastest engine that it has", option="engine")
    from pleinair.farm.ray_cluster import import_ray
    from pleinair.farm.work import check_bits

    check_bits(bits)
    import_ray()


@contextmanager
def joined(on: Where) -> Iterator[Cluster]:
    """A cluster, joined. Raises FarmError."""
    from pleinair.farm.ray_cluster import RayCluster

    with spinner(f"joining {on}"):
        cluster = RayCluster(on)
    try:
        yield cluster
    finally:
        cluster.close()


def paint_on_cluster(cluster: Cluster, roll: Roll, look: Look, *, audit: float | None, threads: int) -> None:
    """Paint what is missing of a painting on a cluster, with bars; then a line about each worker."""
    from pleinair.farm.repaint import AUDIT, paint_on

    began = time.monotonic()
    with Bars() as bars:

        def report(done: int, total: int, tallies: Mapping[str, Tally]) -> None:
            frames = sum(tally.frames for tally in tallies.values())
            rate = frames / max(time.monotonic() - began, 1e-9)
            bars.show("painting", done, total, f"{rate:.1f}/s on {len(tallies)}")

        harvest = paint_on(
            cluster,
            roll,
            look,
            audit=AUDIT if audit is None else audit,
            threads=threads or 1,
            report=report,
            tell=bars.tell,
        )
    for worker, tally in sorted(harvest.tallies.items(), key=lambda entry: -entry[1].frames):
        rate = (tally.frames + tally.metered) / tally.seconds if tally.seconds else 0.0
        remark(
            f"{tally.address} ({worker}): {tally.frames} frames painted, {tally.metered} metered, "
            f"{rate:.1f} a second and task, {tally.audited} audited, by {tally.engine}"
        )
    for message in harvest.lies.values():
        remark(f"thrown away and painted again: {message}")
