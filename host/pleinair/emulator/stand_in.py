"""Deployment folders without Vivado, for the emulated board.

Everything in them is real but the bitstream and its hardware handoff, which only Vivado can make.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pleinair.fpga.build_folder import RTL_MANIFEST, read_build
from pleinair.fpga.deployment import (
    BITFILE,
    ENGINES,
    ERROR_REGISTER,
    MODEL,
    SETTINGS,
    Deployment,
    driver_settings,
    read_deployment,
    read_light,
    write_manifest,
)
from pleinair.fpga.handoff import write_handoff
from pleinair.fpga.light_map import LightMap, lay_out
from pleinair.fpga.light_port import stations_of
from pleinair.models import CARD, FILES, find_style, read_card, read_file
from pleinair.network.integer import IntegerNetwork, parse
from pleinair.network.light import identity
from pleinair.network.trimming import inset_of


def light_map_of(
    network: IntegerNetwork, height: int, width: int, metering: bool = True, *, trimmed: bool = False
) -> LightMap | None:
    """A map for an adaptive network, whose registers are where we like; None for any other network."""
    if not network.adaptive:
        return None
    return lay_out(identity(network), stations_of(network, height, width, trimmed=trimmed), metering=metering)


def stand_in(
    folder: Path,
    model: Path,
    bits: int,
    *,
    board: str,
    clock_mhz: float,
    height: int,
    width: int,
    writeable: int = 0,
    metering: bool = True,
    light: LightMap | None = None,
    errors: bool = True,
    trimmed: bool = False,
) -> Deployment:
    """Write a deployment folder.

    Args:
        folder: a folder that is not there yet.
        model: the model's folder.
        bits: the network's width.
        board: pynq-z2 for a Zynq-7000; all others are Zynq UltraScale+.
        clock_mhz: the accelerator's clock, MHz.
        height, width: of the accelerator's frame, margin included.
        writeable: how many layers have weights that are written at run time.
        metering: whether the accelerator of an adaptive network measures light.
        light: the map of its registers; by default one that :func:`light_map_of` makes.
        errors: whether the engines are ours, which tell of errors on the bus, and not FINN's.
        trimmed: whether the accelerator's painting is without its outer pixels.

    Raises ModelError, OSError.
    """
    card = read_card(model)
    network = read_file(model, card, bits, "network")
    for name in (Path(BITFILE).parent, Path(SETTINGS).parent, Path(MODEL)):
        (folder / name).mkdir(parents=True)
    parsed = parse(network, str(model))
    if light is None:
        light = light_map_of(parsed, height, width, metering, trimmed=trimmed)
    write_handoff(
        folder / BITFILE,
        zynq_7000=board == "pynq-z2",
        engines=ENGINES,
        clock_mhz=clock_mhz,
        layers=writeable,
        light=0 if light is None else light.bytes,
    )
    given = driver_settings(
        height,
        width,
        clock_mhz,
        writeable=writeable > 0,
        light=light,
        error_register=ERROR_REGISTER if errors else None,
        inset=inset_of(parsed) if trimmed else 0,
    )
    (folder / SETTINGS).write_text(json.dumps(given, indent=2))
    shutil.copyfile(model / CARD, folder / MODEL / CARD)
    (folder / MODEL / FILES["network"].format(bits=bits)).write_bytes(network)
    write_manifest(folder, board=board, clock_mhz=clock_mhz, style=model.resolve().name, bits=bits)
    return read_deployment(folder)


def stand_in_for_build(build: Path, folder: Path) -> Deployment:
    """Write a deployment folder for a build that Vivado has not seen. Raises DeploymentError, ModelError, OSError."""
    facts, manifest = read_build(build), build / RTL_MANIFEST
    return stand_in(
        folder,
        find_style(facts.model),
        facts.bits,
        board=facts.board,
        clock_mhz=facts.clock_mhz,
        height=facts.height,
        width=facts.width,
        light=read_light(manifest, facts.height, facts.width) if manifest.is_file() else None,
        trimmed=facts.inset > 0,
    )
