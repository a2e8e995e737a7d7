"""What the command line says about accelerators on boards: the options of --backend fpga, ``deploy`` and ``bench``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host.cli_shared import (
    PATH,
    backend_option,
    bits_option,
    config_option,
    say,
    style_option,
    threads_option,
)  # fmt: skip
from host.errors import OptionError, OutputError
from host.options import parse_size

if TYPE_CHECKING:
    from host.accelerator_painter import AcceleratorPainter

FPGA = "fpga"

_overlay = click.option(
    "--overlay", help="For --backend fpga: a deployment folder, emulated:FOLDER or simulated:BUILD (docs/fpga.md)."
)
_fallback = click.option(
    "--fallback", help="For --backend fpga: cpu or reference paints while the accelerator does not."
)


def accelerator_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of --backend fpga; :func:`choose` understands them."""
    return _overlay(_fallback(command))


def choose(backend: str, overlay: str | None, fallback: str | None, style: str, bits: int) -> tuple[str, str, int]:
    """Backend (as :func:`host.painters.open_painter` takes it), style and bits of a command's options.

    With an overlay, a style or width that is not asked for is the one that it paints. Raises OptionError,
    DeploymentError, ModelError.
    """
    if backend != FPGA:
        for name, value in (("--overlay", overlay), ("--fallback", fallback)):
            if value is not None:
                raise OptionError(f"{name} {value}: needs --backend {FPGA}")
        return backend, style, bits
    if overlay is None:
        raise OptionError(f"--backend {FPGA}: needs --overlay DEPLOY, the folder that `pleinair build` leaves")
    from host.accelerator_painter import backend_name, overlay_style

    context = click.get_current_context()
    its_style, its_bits = overlay_style(overlay)
    asked = click.core.ParameterSource.DEFAULT
    if context.get_parameter_source("style") is asked:
        style = its_style
    if context.get_parameter_source("bits") is asked:
        bits = its_bits
    return backend_name(overlay, fallback), style, bits


@click.command()
@click.argument("folder", metavar="BUILD", type=PATH)
@click.option("--to", "address", help="Copy it to USER@BOARD by ssh.")
@click.option("--out", type=PATH, help="Write a .tar.gz instead, and say how to bring it to a board.")
@config_option
def deploy(folder: Path, address: str | None, out: Path | None) -> None:
    """Bring an accelerator and the program to a PYNQ board.

    BUILD is the folder of `pleinair build` on a machine with Vivado, or the deployment folder in it.
    """
    from host.board_package import ROOT, instructions, package, send

    if (address is None) == (out is None):
        raise OptionError("give --to USER@BOARD or --out FILE.tar.gz")
    data = package(folder)
    if out is not None:
        try:
            out.write_bytes(data)
        except OSError as error:
            raise OutputError(f"--out {out}: {error.strerror}") from error
        say(f"{click.format_filename(out)}: {len(data) / 1e6:.1f} MB. Three lines bring it to a board:")
        say(instructions(out))
        return
    assert address is not None
    send(data, address)
    say(f"{address}:{ROOT}: {len(data) / 1e6:.1f} MB. Once, there: ssh -t {address} 'sudo {ROOT}/install.sh'")


@click.command()
@style_option
@bits_option
@backend_option
@accelerator_options
@click.option("--size", help="The frames' size, WIDTHxHEIGHT; 640x480, or what the accelerator was built for.")
@click.option("--frames", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Paint so many.")
@threads_option
@config_option
def bench(
    style: str, bits: int, backend: str, overlay: str | None, fallback: str | None, size: str | None, frames: int,
    threads: int,
) -> None:  # fmt: skip
    """Frames a second, and with an accelerator the time of each stage and the board's power."""
    import numpy as np

    from host.accelerator_painter import AcceleratorPainter
    from host.models import load_model
    from host.painters import open_painter

    chosen, style, bits = choose(backend, overlay, fallback, style, bits)
    model = load_model(style, bits)
    with closing(open_painter(model, chosen, threads)) as painter:
        accelerated = painter if isinstance(painter, AcceleratorPainter) else None
        if size is not None:
            width, height = parse_size(size)
        elif accelerated is not None:
            width, height = (side - 2 * model.margin for side in painter.tile[::-1])
        else:
            width, height = 640, 480
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        if accelerated is None:
            painter.paint(noise)
            began = time.perf_counter()
            for _ in range(frames):
                painter.paint(noise)
            seconds = time.perf_counter() - began
        else:
            seconds, lines = _bench_accelerator(accelerated, noise, frames)
        say(f"{model.style} {bits}-bit, {width}x{height}, {painter.name}")
        say(f"{frames / seconds:.2f} frames a second, {1e3 * seconds / frames:.2f} ms a frame, over {frames} frames")
        if accelerated is not None:
            for line in lines:
                say(line)


def _bench_accelerator(painter: AcceleratorPainter, frame: Any, frames: int) -> tuple[float, list[str]]:
    """Seconds for so many frames, and what they were spent on."""
    from host.accelerator import Stages

    accelerator = painter.accelerator
    painter.paint(frame)
    accelerator.stages = stages = Stages()
    watts: dict[str, list[float]] = {}

    def film() -> Iterator[Any]:
        for _ in range(frames):
            yield frame

    began = time.perf_counter()
    for k, _ in enumerate(painter.paint_each(film())):
        for rail, power in accelerator.power().items() if k % 10 == 0 else ():
            watts.setdefault(rail, []).append(power)
    seconds = time.perf_counter() - began
    tiles = max(1, stages.tiles)
    spent = {name: 1e3 * getattr(stages, name) / tiles for name in ("prepare", "dma", "wait", "collect")}
    own = spent["prepare"] + spent["dma"] + spent["collect"]
    lines = [
        f"a tile of {accelerator.width}x{accelerator.height}, of which there were {stages.tiles}: "
        + ", ".join(f"{name} {ms:.2f} ms" for name, ms in spent.items())
        + f"; the driver's own {own:.2f} ms"
    ]
    if painter.replaced or painter.reloads:
        lines.append(
            f"{painter.replaced} frames painted by the fallback, the overlay loaded anew {painter.reloads} times"
        )
    if watts:
        means = {rail: sum(values) / len(values) for rail, values in watts.items()}
        lines.append("power, processor included: " + ", ".join(f"{rail} {mean:.2f} W" for rail, mean in means.items()))
    if accelerator.emulated:
        lines.append(
            "EMULATED: this machine's processor stood in for the accelerator; of a board these figures say nothing"
        )
    return seconds, lines


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    for command in (deploy, bench):
        app.add_command(command)
