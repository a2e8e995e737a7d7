"""The deployment folder of a bitstream that the open tools made, and what a build's report says of it."""

from __future__ import annotations

from pathlib import Path

from pleinair.fpga.deployment import Deployment
from pleinair.fpga.handoff import handoff
from pleinair_hw import vivado
from pleinair_hw.open.flow import Made
from pleinair_hw.open.steps import writing_to
from pleinair_hw.plan.boards import Board
from pleinair_hw.report.data import PlacedAndRouted
from pleinair_hw.shell.write import ENGINES


def deploy(made: Made, driver: Path, folder: Path, *, model: Path, bits: int, board: Board) -> Deployment:
    """Make the deployment folder at the clock that was found; whole or not at all.

    Args:
        made: from ``make_bitstream``.
        driver: the folder of settings.json and runtime weights, from :func:`pleinair_hw.vivado.make_driver`.
        folder: a new folder, an empty one, or an earlier deployment.
        model: the model's folder, with its card.
        bits: the network's width.
        board: the accelerator's board.

    Raises:
        ModelError, DeploymentError, OutputError: as :func:`pleinair_hw.vivado.assemble`.
    """
    hwh = made.folder / "design.hwh"
    with writing_to(made.folder):
        hwh.write_text(
            handoff(
                board.is_zynq_7000,
                ENGINES,
                made.clock.mhz,
                layers=made.shell.weights,
                light=made.shell.light,
                divisors=made.clock.divisors,
            )
        )
    bitstream = vivado.Bitstream(
        bitfile=made.bitfile, handoff=hwh, driver=driver, utilisation=made.folder / "open.json", timing=made.folder
    )
    return vivado.assemble(folder, bitstream, model=model, bits=bits, board=board, clock_mhz=made.clock.mhz)


def figures(made: Made, planned_fps: float) -> PlacedAndRouted:
    """What the report says: the same clock, rate and use of the chip as the deployment has."""
    cells = made.figures.cells
    return PlacedAndRouted(
        fmax_mhz=round(made.figures.fmax_mhz, 2),
        margin=made.margin,
        clock_mhz=made.clock.mhz,
        fps=planned_fps * made.clock.mhz / made.planned_mhz,
        seed=made.figures.seed,
        resources={
            "lut": made.figures.lut_sites,
            "ff": cells["ff"],
            "dsp": cells["dsp"],
            "bram": cells["ramb18"] + 2 * cells["ramb36"],
        },
        untimed=made.figures.untimed,
        features=made.checked["asked"],
        hold_misses=made.figures.hold_misses,
    )
