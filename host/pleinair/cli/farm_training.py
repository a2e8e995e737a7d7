"""``pleinair train --styles FOLDER --on ray``: a style for each painting, trained on the machines of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cli.console import Bars, print_table, say
from pleinair.cli.farm import farm_of, joined
from pleinair.cli.options import extra
from pleinair.errors import OptionError

if TYPE_CHECKING:
    from pleinair.farm.cluster import Result, Where
    from pleinair_training.trainer import Progress


def train_styles(
    styles: Path | None,
    on: Where | None,
    alone: Mapping[str, object],
    *,
    content: Path | None,
    loss_network: str | None,
    out: Path | None,
    bits: tuple[int, ...],
    widths: tuple[int, ...],
    cores: int | None,
    device: str,
    start: Path | None,
    **settings: Any,
) -> None:
    """Train all of them, then compare what came of them.

    ``alone`` are the values of options that go with one style only. Raises OptionError, FarmError, TrainingError.
    """
    if styles is None:
        raise OptionError("with --on, give a folder of paintings", option="styles")
    if on is None:
        raise OptionError(f"{styles}: needs --on ray, here or at an address; for one painting there is --style")
    for name, value in alone.items():
        if value is not None:
            raise OptionError("does not go with --styles", option={"adding": "add"}.get(name, name))
    if start is not None and len(widths) > 1:
        raise OptionError(f"{start}: has one width; several start from no other network", option="from")
    farm = farm_of(on, None)
    assert farm is not None
    with extra("train", "train"):
        from pleinair_training import evening
        from pleinair_training.evaluation import evaluate
        from pleinair_training.loss_network import parse_loss_network
        from pleinair_training.report import console_table, make_folder, write_report
        from pleinair_training.shared import lessons, paintings_in, read_progress, runs_of, teach

    from pleinair.farm.steps import run_steps

    paintings = {name: path.absolute() for name, path in paintings_in(styles).items()}
    names = [run.name for run in runs_of(paintings, widths)]
    runs = (Path("runs") if out is None else out).absolute()
    kind, weights = parse_loss_network(evening.reduced_loss_network() if loss_network is None else loss_network)
    judge = f"{kind}:{weights.absolute()}"
    photos = evening.starter_photos(runs / "photos") if content is None else content.absolute()
    steps = lessons(
        paintings,
        runs,
        bits=bits,
        widths=widths,
        start=None if start is None else start.absolute(),
        threads=cores or 1,
        device=device,
        **settings,
        content=str(photos),
        loss_network=judge,
    )
    with joined(farm) as cluster, Bars(lines=True) as bars:
        shown = dict[str, Progress]()

        def beat(states: Mapping[str, str]) -> None:
            begun = {name.rpartition(" ")[0] for name, state in states.items() if state == "begun"}
            for name in sorted(begun):
                told = read_progress(runs / name)
                if told is not None and told != shown.get(name):
                    shown[name] = told
                    losses = f"{told.stage}: content {told.content:,.0f} style {told.style:,.0f}"
                    bars.show(name, told.step, told.steps, f"{losses} {told.seconds_per_step:.2f} s a step")

        def done(name: str, result: Result) -> None:
            bars.tell(f"{name}: {result.value.checkpoint} on {cluster.workers().get(result.worker, result.worker)}")

        gpus = int(device == "cuda")
        run_steps(cluster, teach, steps, cores=cores or 1, gpus=gpus, beat=beat, done=done, tell=bars.tell)
        make_folder(runs / "report")
        evaluation = evaluate(
            [str(runs / name) for name in names],
            paintings=None,
            content=photos,
            loss_network=judge,
            sequence=None,
            photos=None,
            report=bars.show,
        )
    write_report(evaluation, runs / "report")
    print_table(console_table(evaluation))
    say(f"report: {click.format_filename(runs / 'report' / 'report.html')}")
    say(f"next: pleinair export {click.format_filename(runs / names[0])} --out models/NAME")
