"""What the subcommands that share their work among machines have in common: ``--on`` and what belongs to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pleinair.backends import CPU, Backend
from pleinair.cli.console import Bars, remark, spinner
from pleinair.cli.types import ON, SHARE
from pleinair.engines.exact import AUTO
from pleinair.errors import OptionError

if TYPE_CHECKING:
    from pleinair.cameras.opening import CameraSource
    from pleinair.farm.cluster import Cluster, Where
    from pleinair.farm.orders import Tally
    from pleinair.rolls.roll import Roll
    from pleinair.rolls.settings import Look
    from pleinair.rolls.timelapse import Timelapse

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
        show_default="1%",
        help="With --on: paint this share of the frames twice, on two machines, and compare.",
    )
    return on_option(audit(command))


@dataclass(frozen=True)
class Farm:
    """Where the work of a command is shared, and the share of frames that are painted twice; None is the default."""

    on: Where
    audit: float | None


def farm_of(on: Where | None, audit: float | None, *, bits: int = 8, backend: Backend | None = None) -> Farm | None:
    """The farm of a command; None where it works alone.

    Raises OptionError for what does not go together, FarmError where Ray is not installed.
    """
    if on is None:
        if audit is not None:
            raise OptionError(f"{100 * audit:g}%: needs --on", option="audit")
        return None
    if backend is not None and backend.kind != CPU:
        raise OptionError(f"{backend.kind}: with --on, machines paint with their processors", option="backend")
    if backend is not None and backend.engine != AUTO:
        raise OptionError(f"{backend.engine}: with --on, each machine chooses its fastest engine", option="engine")
    from pleinair.farm.ray_cluster import import_ray
    from pleinair.farm.work import check_bits

    check_bits(bits)
    import_ray(on)
    return Farm(on, audit)


@contextmanager
def joined(farm: Farm) -> Iterator[Cluster]:
    """A cluster, joined. Raises FarmError."""
    from pleinair.farm.ray_cluster import RayCluster

    with spinner(f"joining {farm.on}"):
        cluster = RayCluster(farm.on)
    try:
        yield cluster
    finally:
        cluster.close()


def paint_on_cluster(cluster: Cluster, farm: Farm, roll: Roll, look: Look) -> None:
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
            audit=AUDIT if farm.audit is None else farm.audit,
            threads=roll.settings.threads or 1,
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


def refuse_with_farm(camera: CameraSource, settings: Mapping[str, object]) -> None:
    """Raise OptionError for what only filming has that goes on for days."""
    if camera.live:
        raise OptionError(
            f"'{camera}': with --on, frames come from a stored camera; film on a roll, then: "
            "pleinair finish ROLL --on ray",
            option="camera",
        )
    for name in ("daily", "on_film", "notify", "preview"):
        if settings.get(name):
            raise OptionError("does not go with --on", option=name)


def capture_only(lapse: Timelapse, stop: threading.Event) -> str:
    """Keep a stored camera's frames on the roll; the state that this ended in."""
    with spinner(f"keeping the frames of {lapse.shooter.name}"):
        lapse.capture.run(stop)
    return lapse.capture.state


def paint_missing(farm: Farm, roll: Roll, look: Look) -> None:
    """Join the cluster and paint what is missing of a painting."""
    with joined(farm) as cluster:
        paint_on_cluster(cluster, farm, roll, look)
