"""The subcommands that make styles: train, evaluate, export. They need the extra ``train``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cli.console import Bars, print_table, say, say_json
from pleinair.cli.options import PATH, config_option, extra
from pleinair.cli.types import OneOf, Weight, Whole
from pleinair.errors import OptionError
from pleinair.models import CARD, DEFAULT_GRAIN
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS

if TYPE_CHECKING:
    from pleinair_training.trainer import Progress

_LOSS_NETWORK = "vgg16:FILE or vgg19:FILE, weights as .pth or .npz"


@click.command()
@click.option("--style", type=PATH, required=True, help="The painting to learn, an image file.")
@click.option("--content", type=PATH, required=True, help="Folder of photos to learn on; its subfolders count.")
@click.option(
    "--loss-network",
    required=True,
    help=f"Network that judges the paintings: {_LOSS_NETWORK}. vgg16 and vgg19 alone are downloaded once.",
)
@click.option("--out", type=PATH, required=True, help="The run's folder. An interrupted run there continues.")
@click.option(
    "--shape",
    type=OneOf("adaptive", "johnson"),
    show_default="adaptive",
    help="Shape of the network: adaptive is painted in each frame's own light, johnson is the first generation's.",
)
@click.option(
    "--bits",
    type=OneOf(*BITS, FLOAT_BITS),
    default=8,
    show_default=True,
    help="Bits of weights and activations; 32 stops at the float network.",
)
@click.option("--width", type=Whole(4, 128), default=16, show_default=True, help="Channels of the first convolution.")
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
@click.option("--from", "start", type=PATH, help="Start from the parent of a run or of a model, or from a checkpoint.")
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
@config_option
def train(style: Path, content: Path, loss_network: str, out: Path, bits: int, device: str, **settings: Any) -> None:
    """Train a network to paint like a painting.

    It is trained as a float network with instance norm, and `pleinair export` rounds it. For 4 bits it is trained on as
    the integers that will paint. In shape johnson it is trained on without the norm, then quantised.

    Stopped at any time, the same command continues. With other --bits it adds a width to a finished run.
    """
    with extra("train", "train"):
        from pleinair_training.stages import train_stages
    # torchrun starts several processes; the first speaks for all.
    with Bars(lines=True, quiet=os.environ.get("RANK", "0") != "0") as bars:

        def report(step: Progress) -> None:
            bars.show(
                step.stage,
                step.step,
                step.steps,
                f"content {step.content:,.0f} style {step.style:,.0f} {step.seconds_per_step:.2f} s a step",
            )

        checkpoint = train_stages(
            out,
            bits=bits,
            device=device,
            report=report,
            tell=bars.tell,
            style=str(style),
            content=str(content),
            loss_network=loss_network,
            **settings,
        )
        # Only a run of Johnson's shape, which has a plain stage, exports all of its widths unasked.
        rounded = "" if bits == FLOAT_BITS or (out / "plain.pt").exists() else f" --bits {bits}"
        bars.tell(f"done: {checkpoint}; next: pleinair export {out}{rounded} --out models/NAME")


@click.command()
@click.argument("subjects", metavar="[SUBJECT]...", nargs=-1)
@click.option("--paintings", type=PATH, help="Folder of the paintings, where a run does not know the place of its own.")
@click.option(
    "--content", type=PATH, required=True, help="Folder of photos, such as training's; only those it kept apart count."
)
@click.option("--loss-network", required=True, help=f"Network that judges the paintings: {_LOSS_NETWORK}.")
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
    help="Pixels to reflect around each frame; by default as many as the network sees beyond it.",
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
    for command in (train, evaluate, export):
        app.add_command(command)
