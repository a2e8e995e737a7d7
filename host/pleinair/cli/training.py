"""The subcommands that make styles: train, evaluate, export, loss-network. They need the extra ``train``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cli.console import Bars, print_table, remark, say, say_json, spinner
from pleinair.cli.farm import on_option
from pleinair.cli.farm_training import train_styles
from pleinair.cli.options import PATH, config_option, extra
from pleinair.cli.types import OneOf, SomeOf, Weight, Whole, Wholes
from pleinair.errors import OptionError
from pleinair.models import CARD, DEFAULT_GRAIN, DEFAULT_STYLE
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS

if TYPE_CHECKING:
    from pleinair.farm.cluster import Where
    from pleinair_training.trainer import Progress

_LOSS_NETWORK = "vgg16:FILE or vgg19:FILE, weights as .pth or .npz"


@click.command()
@click.option("--style", type=PATH, help="The painting to learn, an image file.")
@click.option("--styles", type=PATH, help="With --on: folder of paintings, each of which becomes a style.")
@click.option(
    "--content",
    type=PATH,
    help="Folder of photos to learn on; its subfolders count. By default 60 pictures of the synthetic camera.",
)
@click.option(
    "--loss-network",
    help=f"Network that judges the paintings: {_LOSS_NETWORK}. vgg16 and vgg19 alone are downloaded once. By default "
    "the half-precision file of `pleinair loss-network`, made if it is not there.",
)
@click.option("--out", type=PATH, help="The run's folder, by default runs/NAME. An interrupted run there continues.")
@click.option("--name", help="What to call the style; by default after the painting's file.")
@click.option(
    "--add/--no-add",
    "adding",
    default=None,
    show_default="--add without --content",
    help="At the end add the style to yours, and film a sample.",
)
@click.option(
    "--shape",
    type=OneOf("adaptive", "johnson"),
    show_default="adaptive",
    help="Shape of the network: adaptive is painted in each frame's own light, johnson is the first generation's.",
)
@click.option(
    "--bits",
    type=SomeOf(*BITS, FLOAT_BITS),
    default="8",
    show_default=True,
    help="Bits of weights and activations; 32 stops at the float network. With --styles several: 8,4.",
)
@click.option(
    "--width",
    type=Wholes(4, 128),
    default="16",
    show_default=True,
    help="Channels of the first convolution. With --styles several: 16,8.",
)
@click.option("--blocks", type=Whole(1, 16), default=3, show_default=True, help="Number of residual blocks.")
@click.option(
    "--crop",
    type=Whole(64, 1024),
    show_default="320; johnson: 224",
    help="Side of the squares cut from photos, in pixels; a multiple of 4.",
)
@click.option("--batch", type=Whole(1, 256), show_default="1; johnson: 3", help="Squares in each training step.")
@click.option(
    "--style-size",
    type=Whole(64, 4096),
    default=416,
    show_default=True,
    help="Longer side to scale the painting to, in pixels. It sets how large strokes become.",
)
@click.option(
    "--style-crop", default="", metavar="WIDTHxHEIGHT+LEFT+TOP", help="Part of the painting to learn; all by default."
)
@click.option(
    "--content-layer",
    default="",
    help="Loss network's layer for content; by default relu3_3 of vgg16, relu4_2 of vgg19.",
)
@click.option("--style-layers", default="", help="Loss network's layers for style, such as relu1_2,relu2_2.")
@click.option("--content-weight", type=Weight(), default=1.0, show_default=True, help="Weight of the content loss.")
@click.option("--style-weight", type=Weight(), default=1.5, show_default=True, help="Weight of the style loss.")
@click.option(
    "--stability-weight",
    type=Weight(),
    show_default="1e6; johnson: 4e6",
    help="Weight of the loss that keeps paintings of nearly equal frames equal.",
)
@click.option(
    "--light-weight",
    type=Weight(),
    show_default="4e4; johnson: 0",
    help="Weight of the loss that keeps light and dark where the photo has them.",
)
@click.option(
    "--grid-weight",
    type=Weight(),
    show_default="2e3; johnson: 0",
    help="Weight of the loss against patterns that repeat every 2 or 4 pixels.",
)
@click.option(
    "--distillation-weight",
    type=Weight(),
    show_default="4e7; johnson: 6e6 at 4 bits, else 0",
    help="Weight of the loss against the float network's paintings, in the quantised stage.",
)
@click.option(
    "--from",
    "start",
    type=PATH,
    help="Start from the parent of a run or of a style, or from a checkpoint. Without --content the default is "
    f"{DEFAULT_STYLE}.",
)
@click.option(
    "--parent-steps",
    type=Whole(0),
    show_default="3000, with --from 800; johnson: 1500",
    help="Steps of the float network with instance norm; with --from, 0 takes the other's parent as it is.",
)
@click.option(
    "--plain-steps",
    type=Whole(1),
    show_default="johnson: 1500",
    help="Steps of the float network without instance norm.",
)
@click.option(
    "--quantised-steps",
    type=Whole(0),
    show_default="4 bits: 500, else 0; johnson: 4 bits 500, 8 bits 300, 16 bits 0",
    help="Steps of the quantised network. In shape adaptive, 0 leaves rounding to `pleinair export`.",
)
@click.option(
    "--hold-out",
    type=Whole(0),
    default=14,
    show_default=True,
    help="Number of photos to keep for `pleinair evaluate`.",
)
@click.option(
    "--precision",
    type=OneOf("float32", "bfloat16"),
    default="float32",
    show_default=True,
    help="Numbers to train with; bfloat16 is faster on some machines.",
)
@click.option("--device", type=OneOf("cpu", "cuda"), default="cpu", show_default=True, help="Where to train.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the networks with torch.compile.")
@click.option("--seed", type=Whole(0), default=1, show_default=True, help="Seed of the first weights and the crops.")
@on_option
@click.option("--cores", type=Whole(1, 256), show_default="1", help="With --on: cores that each training takes.")
@config_option
def train(
    style: Path | None,
    styles: Path | None,
    content: Path | None,
    loss_network: str | None,
    out: Path | None,
    name: str | None,
    adding: bool | None,
    bits: tuple[int, ...],
    width: tuple[int, ...],
    device: str,
    on: Where | None,
    cores: int | None,
    **settings: Any,
) -> None:
    """Train a network to paint like a painting.

    `pleinair train --style my.jpg` alone takes an evening: it chooses all else, and at the end the style is yours.

    It is trained as a float network with instance norm, and `pleinair export` rounds it. For 4 bits it is trained on as
    the integers that will paint. In shape johnson it is trained on without the norm, then quantised.

    Stopped at any time, the same command continues. With other --bits it adds a width to a finished run.

    `pleinair train --styles FOLDER --on ray` trains a style for each painting in FOLDER, on the machines of a cluster.
    """
    if styles is not None or on is not None:
        alone = {"style": style, "name": name, "adding": adding}
        train_styles(
            styles,
            on,
            alone,
            content=content,
            loss_network=loss_network,
            out=out,
            bits=bits,
            widths=width,
            cores=cores,
            device=device,
            start=_start(settings, unasked=content is None),
            **_without_start(settings),
        )
        return
    if style is None:
        raise OptionError("give a painting to learn, an image file", option="style")
    if cores is not None:
        raise OptionError(f"{cores}: needs --on", option="cores")
    for option, values in (("bits", bits), ("width", width)):
        if len(values) > 1:
            raise OptionError(f"{','.join(map(str, values))}: several go with --styles", option=option)
    _train_one(
        style,
        content=content,
        loss_network=loss_network,
        out=out,
        name=name,
        adding=adding,
        bits=bits[0],
        device=device,
        settings={**settings, "width": width[0]},
    )


def _without_start(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "start"}


def _train_one(
    style: Path,
    *,
    content: Path | None,
    loss_network: str | None,
    out: Path | None,
    name: str | None,
    adding: bool | None,
    bits: int,
    device: str,
    settings: dict[str, Any],
) -> None:
    with extra("train", "train"):
        from pleinair_training import evening
        from pleinair_training.stages import train_stages
    from pleinair.images import read_image
    from pleinair.sharing.styles import check_free, checked_name

    name = evening.style_name(style) if name is None else checked_name(name)
    run = Path("runs") / name if out is None else out
    add = content is None if adding is None else adding
    if add:  # told now, not after an evening; what this run has added before it may replace
        check_free(name, force=(run / "model").is_dir())
    if add and bits == FLOAT_BITS:
        raise OptionError("a style of integers is added; give 4, 8 or 16 --bits, or --no-add", option="bits")
    settings["start"] = _start(settings, unasked=content is None)
    # torchrun starts several processes; the first speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    with Bars(lines=True, quiet=not first) as bars:
        read_image(style)  # refused before anything is downloaded
        if loss_network is None:
            loss_network = evening.reduced_loss_network()
        if content is None:
            content = evening.starter_photos(run / "photos", lambda done, of: bars.show("photos", done, of))
        follow = _Follower(run, bars) if first else None
        try:
            checkpoint = train_stages(
                run,
                bits=bits,
                device=device,
                report=follow,
                tell=bars.tell,
                style=str(style),
                content=str(content),
                loss_network=loss_network,
                **settings,
            )
        except KeyboardInterrupt:
            bars.tell("stopped: the same command goes on with it")
            raise
        if follow is not None:
            follow.write(over=not add)
        # Only a run of Johnson's shape, which has a plain stage, exports all of its widths unasked.
        adaptive = not (run / "plain.pt").exists()
        rounded = f" --bits {bits}" if adaptive and bits != FLOAT_BITS else ""
        bars.tell(f"done: {checkpoint}" + ("" if add else f"; next: pleinair export {run}{rounded} --out models/NAME"))
    if add and follow is not None:
        film = _add_trained(run, name, style, bits if adaptive else None)
        follow.write(f"; it is one of your styles now: {name}", film=film, over=True)


def _start(settings: dict[str, Any], *, unasked: bool) -> Path | None:
    """What a run starts from: a style's name is its folder; where nothing is said, the default style."""
    from pleinair.models import find_style, styles

    start: Path | None = settings["start"]
    if start is not None:
        return find_style(str(start)) if not start.exists() and str(start) in styles() else start
    chosen = ("shape", "width", "blocks")  # a parent of another shape serves for nothing
    context = click.get_current_context()
    if unasked and all(context.get_parameter_source(n) is click.core.ParameterSource.DEFAULT for n in chosen):
        return find_style(DEFAULT_STYLE)
    return None


class _Follower:
    """Shows each step of a run on its bar, tells beforehand how long a stage takes, and keeps the run's page."""

    def __init__(self, run: Path, bars: Bars) -> None:
        self._run, self._bars = run, bars
        self._told, self._pictures, self._words = "", 0, ""

    def __call__(self, step: Progress) -> None:
        """See ``report`` of :func:`pleinair_training.stages.train_stages`."""
        if not self._words:
            from pleinair_training.evening import PAGE

            self._bars.tell(f"pictures of how it goes, a first one after 20 steps: {self._run / PAGE}")
        losses = f"content {step.content:,.0f} style {step.style:,.0f} {step.seconds_per_step:.2f} s a step"
        self._bars.show(step.stage, step.step, step.steps, losses)
        left = duration((step.steps - step.step) * step.seconds_per_step)
        self._words = f"{step.stage}: step {step.step} of {step.steps}"
        if self._told != step.stage and _TELL_AFTER <= step.step < step.steps:
            self._told = step.stage
            self._bars.tell(f"stage {step.stage}: about {left} more, {step.seconds_per_step:.2f} s a step")
        # Pictures come at some steps only; the page changes with them.
        if (pictures := len(list((self._run / "previews").glob("*.png")))) > self._pictures:
            self._pictures = pictures
            self.write(f", about {left} more")

    def write(self, more: str = "", *, film: Path | None = None, over: bool = False) -> None:
        """Write the page; ``more`` goes on with its first line. Raises OutputError."""
        from pleinair_training.evening import write_page

        write_page(self._run, f"{self._words or 'nothing was left to train'}{more}", film=film, over=over)


#: Steps after which a stage's time is known well enough to be told.
_TELL_AFTER = 5


def duration(seconds: float) -> str:
    """A time in words, such as ``25 min``."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _add_trained(run: Path, name: str, painting: Path, bits: int | None) -> Path:
    """Add a finished run to the user's styles, and film a sample beside the run; the film."""
    import shutil

    import pleinair
    from pleinair.models import read_card
    from pleinair.sharing.styles import add_style
    from pleinair_training.export import export_run

    model = run / "model" / name
    shutil.rmtree(model.parent, ignore_errors=True)
    model.parent.mkdir()
    lines = export_run(
        run,
        model,
        painting=painting.stem,
        painting_licence="not said",
        licence="CC0-1.0",
        margin=None,
        grain=DEFAULT_GRAIN,
        bits=() if bits is None else (bits,),
    )
    for line in lines:
        say(line)
    added = add_style(model, name=name, force=True)
    say(f"{name}: added to your styles, in {click.format_filename(added.folder)}")
    film = run / f"{name}.mp4"
    remark("a sample film is made")
    with pleinair.open_painter(model, bits=bits or max(read_card(model).networks)) as painter:
        pleinair.film("synthetic", painter, film, size=_SAMPLE_SIZE, every=_SAMPLE_EVERY)
    say(f"{click.format_filename(film)}: a day painted in it")
    say(f"next: pleinair paint photo.jpg painting.png --style {name}")
    return film


#: The sample film: a synthetic day, a frame each quarter of an hour.
_SAMPLE_SIZE, _SAMPLE_EVERY = (480, 272), 900.0


@click.command("loss-network")
@click.option(
    "--reduce",
    "network",
    required=True,
    metavar="NETWORK",
    help=f"Network to reduce: {_LOSS_NETWORK}; vgg16 and vgg19 alone are downloaded once.",
)
@click.option("--out", type=PATH, help="File to write, .npz; by default where `pleinair train` looks for it.")
def loss_network_command(network: str, out: Path | None) -> None:
    """Write a loss network's layers for training to a small file.

    It has half precision: 15 MB for VGG-16 instead of 0.5 GB. `pleinair train` without --loss-network uses it.
    """
    with extra("train", "loss-network"):
        from pleinair_training.loss_network import parse_loss_network, reduce_network, reduced_path
    kind, source = parse_loss_network(network)
    out = reduced_path(kind) if out is None else out
    if out.suffix != ".npz":
        raise OptionError(f"{out}: the file is a NumPy archive, .npz", option="out")
    size = reduce_network(kind, source, out)
    shown = click.format_filename(out)
    say(f"{shown}: {size / 1e6:.1f} MB; use it as --loss-network {kind}:{shown}")


@click.command()
@click.argument("subjects", metavar="[SUBJECT]...", nargs=-1)
@click.option("--paintings", type=PATH, help="Folder of the paintings, where a run does not know the place of its own.")
@click.option(
    "--content", type=PATH, required=True, help="Folder of photos, such as training's; only those it kept apart count."
)
@click.option(
    "--loss-network",
    required=True,
    help=f"Network that judges the paintings: {_LOSS_NETWORK}; vgg16 and vgg19 alone are downloaded once.",
)
@click.option("--sequence", type=PATH, help="Video of a camera that stands still, to measure flicker on.")
@click.option("--photos", type=Whole(1), help="Number of photos; all by default.")
@click.option("--out", type=PATH, required=True, help="Folder for the report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@config_option
def evaluate(
    subjects: tuple[str, ...],
    paintings: Path | None,
    content: Path,
    loss_network: str,
    sequence: Path | None,
    photos: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Measure networks on photos that training never saw.

    The report holds losses, likeness to the float network, the light kept, flicker, and marks along the borders. A
    SUBJECT is the folder of a run or a model, or a style's name. Without one, all styles are measured.
    """
    with extra("train", "evaluate"):
        from pleinair_training.evaluation import evaluate as evaluate_all
        from pleinair_training.report import console_table, make_folder, write_report

    make_folder(out)
    with Bars() as bars:
        evaluation = evaluate_all(
            subjects,
            paintings=paintings,
            content=content,
            loss_network=loss_network,
            sequence=sequence,
            photos=photos,
            report=bars.show,
        )
    write_report(evaluation, out)
    if as_json:
        say_json([{**asdict(score), "total": score.total} for score in evaluation.scores])
        return
    print_table(console_table(evaluation))
    say(f"report: {click.format_filename(out / 'report.html')}")


@click.command()
@click.argument("run_folder", metavar="RUN", type=PATH)
@click.option("--out", type=PATH, help="Model folder to write: models/NAME. Needed for a run.")
@click.option("--painting", default="", help="Title, artist and year of the painting.")
@click.option("--painting-licence", default="public domain", show_default=True, help="Licence of the painting.")
@click.option("--licence", default="CC0-1.0", show_default=True, help="Licence of the model.")
@click.option(
    "--margin",
    type=Whole(0, 512),
    help="Width of the margin around each frame, in pixels; by default as many as the network sees beyond it.",
)
@click.option(
    "--grain",
    type=Whole(0, 16),
    default=DEFAULT_GRAIN,
    show_default=True,
    help="Canvas grain to add before painting, in grey levels.",
)
@click.option(
    "--float/--no-float",
    "with_float",
    default=False,
    show_default=True,
    help="Also export the float network, as 32 bits. With a model's folder as RUN: add it there, from its parent.",
)
@click.option(
    "--bits",
    type=OneOf(*BITS),
    multiple=True,
    show_default="8",
    help="Bits to round a run of shape adaptive to; repeatable.",
)
@config_option
def export(
    run_folder: Path,
    out: Path | None,
    painting: str,
    painting_licence: str,
    licence: str,
    margin: int | None,
    grain: int,
    with_float: bool,
    bits: tuple[int, ...],
) -> None:
    """Turn a training RUN into a model folder.

    It holds the networks as integers, as QONNX and for ONNX Runtime, and a card that describes them. To a folder that
    is there already, `pleinair export models/NAME --float` adds the float network.
    """
    with extra("train", "export"):
        from pleinair_training.export import add_float, export_run
    if (run_folder / CARD).is_file():
        _refuse_what_a_run_needs(run_folder)
        say(add_float(run_folder))
        return
    if out is None:
        raise OptionError("give --out models/NAME")
    with spinner("export"):
        lines = export_run(
            run_folder,
            out,
            painting=painting,
            painting_licence=painting_licence,
            licence=licence,
            margin=margin,
            grain=grain,
            with_float=with_float,
            bits=bits,
        )
    for line in lines:
        say(line)


def _refuse_what_a_run_needs(folder: Path) -> None:
    """Raises OptionError for any option of `pleinair export` but ``--float`` that was given with a model's folder."""
    context = click.get_current_context()
    if not context.params["with_float"]:
        raise OptionError(f"{folder}: a model's folder, not a run; with --float its float network is added")
    for name in sorted(context.params.keys() - {"run_folder", "with_float"}):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise OptionError(f"goes with a run; {folder} is a model's folder", option=name)


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    for command in (train, evaluate, export, loss_network_command):
        app.add_command(command)
