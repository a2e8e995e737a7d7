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
    DRIVER,
    MODEL,
    PLATFORM,
    SETTINGS,
    Deployment,
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

_ENGINES = ("idma0", "odma0")


def settings(
    height: int, width: int, clock_mhz: float, writeable: bool, light: LightMap | None = None
) -> dict[str, object]:
    """What finn-plus 1.6.1 writes to settings.json for an accelerator of RGB frames, a pixel a word; and the light."""
    shapes: dict[str, object] = {"idma_names": [_ENGINES[0]], "odma_names": [_ENGINES[1]]}
    for end in "io":
        shapes[f"{end}dt"] = ["DataType['UINT8']"]
        shapes[f"{end}shape_normal"] = [[1, height, width, 3]]
        shapes[f"{end}shape_folded"] = shapes[f"{end}shape_packed"] = [[1, height, width, 1, 3]]
    shapes.update(num_inputs=1, num_outputs=1, number_of_external_weights=0, external_weights_input_shapes={})
    information = {
        "driver_type": DRIVER,
        "platform": PLATFORM,
        "io_shape_dict": shapes,
        "external_weights": False,
        "runtime_weights": writeable,
        "fclk_mhz": float(clock_mhz),
    }
    ours = {} if light is None else {"light": light.to_json()}
    return {"driver_information": information, "experiment_information": {}, **ours}


def light_map_of(network: IntegerNetwork, height: int, width: int, metering: bool = True) -> LightMap | None:
    """A map for an adaptive network, whose registers are where we like; None for any other network."""
    if not network.adaptive:
        return None
    return lay_out(identity(network), stations_of(network, height, width), metering=metering)


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

    Raises ModelError, OSError.
    """
    card = read_card(model)
    network = read_file(model, card, bits, "network")
    for name in (Path(BITFILE).parent, Path(SETTINGS).parent, Path(MODEL)):
        (folder / name).mkdir(parents=True)
    if light is None:
        light = light_map_of(parse(network, str(model)), height, width, metering)
    write_handoff(
        folder / BITFILE,
        zynq_7000=board == "pynq-z2",
        engines=_ENGINES,
        clock_mhz=clock_mhz,
        layers=writeable,
        light=0 if light is None else light.bytes,
    )
    (folder / SETTINGS).write_text(json.dumps(settings(height, width, clock_mhz, writeable > 0, light), indent=2))
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
    )
