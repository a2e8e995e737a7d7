"""Deployment folders: what a board needs to paint, as ``pleinair build`` leaves it with Vivado or with open tools.

::

    bitfile/finn-accel.bit, finn-accel.hwh    what PYNQ loads
    driver/settings.json                      what finn-plus-driver 1.6.1 reads: shapes, types, engines' names; "light",
                                              the map of an adaptive network's registers (light_map.py);
                                              "error_register", where each engine's is that tells of errors on the bus
    driver/runtime_weights/                   only for layers with ``runtime_writeable_weights``
    model/card.json, network-8bit.npz         a model folder that :func:`pleinair.models.load_model` reads
    hashes.json                               the board, the clock, and the SHA-256 of every other file

Standard library alone: this is read on the board.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.documents import read_record
from pleinair.durable import file_sha256
from pleinair.errors import PleinairError
from pleinair.fpga.light_map import LightMap, read_light_map

MANIFEST = "hashes.json"
FORMAT = "pleinair-deployment"
SETTINGS = "driver/settings.json"
BITFILE = "bitfile/finn-accel.bit"
HANDOFF = "bitfile/finn-accel.hwh"
RUNTIME_WEIGHTS = "driver/runtime_weights"
MODEL = "model"
PLATFORM = "zynq-iodma"
DRIVER = "FINNDMAOverlay"
#: Names of the engines, in and out, and where our own have their register for errors on the bus.
ENGINES = ("idma0", "odma0")
ERROR_REGISTER = 0x40
_MAX_MANIFEST, _MAX_RTL = 1 << 20, 64 << 20


class DeploymentError(PleinairError):
    """A deployment folder is missing, damaged, incomplete or not ours; the message names the file."""


@dataclass(frozen=True)
class Deployment:
    """A deployment folder whose files are all there and as they were written.

    ``height`` and ``width`` are the accelerator's frame in pixels, margin included; its painting is without ``inset``
    pixels on each side (:mod:`pleinair.network.trimming`). ``settings`` is
    ``driver_information`` of settings.json; ``model`` the folder for :func:`pleinair.models.load_model`; ``light`` the
    map of an adaptive network's registers, None where the accelerator has none; ``error_register`` the byte offset of
    either engine's register that tells of an error on the bus, None where the engines are FINN's, which have none.
    """

    folder: Path
    board: str
    clock_mhz: float
    style: str
    bits: int
    height: int
    width: int
    settings: dict[str, Any]
    light: LightMap | None = None
    error_register: int | None = None
    inset: int = 0

    @property
    def bitfile(self) -> Path:
        """The bitstream; its .hwh lies beside it under the same name, where PYNQ looks for it."""
        return self.folder / BITFILE

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.folder / MODEL

    @property
    def engines(self) -> tuple[str, str]:
        """The names of the memory-access engines, in and out, in the overlay."""
        shapes = self.settings["io_shape_dict"]
        return shapes["idma_names"][0], shapes["odma_names"][0]

    @property
    def runtime_weights(self) -> list[Path]:
        """Files of weights to be written before the first frame, in order: 1_0_NAME.dat, 1_1_NAME.dat, ..."""
        files = (self.folder / RUNTIME_WEIGHTS).glob("*.dat")
        return sorted(files, key=lambda file: [int(part) for part in file.name.split("_")[:2]])


def _files(folder: Path) -> list[str]:
    """The paths of all files below ``folder`` but the manifest, relative, POSIX, in order."""
    paths = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)


def write_manifest(folder: Path, *, board: str, clock_mhz: float, style: str, bits: int) -> None:
    """Seal a folder that holds all else of a deployment.

    Raises:
        DeploymentError: settings.json is not that of an accelerator of ours.
        OSError: the file cannot be written.
    """
    _, height, width, _ = read_settings(folder / SETTINGS)
    read_light(folder / SETTINGS, height, width)
    manifest = {
        "format": FORMAT,
        "version": 1,
        "board": board,
        "clock_mhz": clock_mhz,
        "style": style,
        "bits": bits,
        "height": height,
        "width": width,
        "files": {name: file_sha256(folder / name) for name in _files(folder)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def read_settings(path: Path) -> tuple[dict[str, Any], int, int, int]:
    """``driver_information``, the frame's height and width, and the painting's inset; uint8 RGB.

    Raises DeploymentError for the settings of another kind of accelerator.
    """
    record = read_record(path, most=_MAX_MANIFEST, error=DeploymentError)
    settings: Any = record.values.get("driver_information")
    try:
        shapes = settings["io_shape_dict"]
        if settings["driver_type"] != DRIVER or settings["platform"] != PLATFORM:
            raise ValueError("another driver")
        (_, height, width, channels), *more = shapes["ishape_normal"]
        inset = (height - shapes["oshape_normal"][0][1]) // 2
        painting = [1, height - 2 * inset, width - 2 * inset, 3]
        if more or channels != 3 or inset < 0 or min(painting) < 1 or shapes["oshape_normal"] != [painting]:
            raise ValueError("other shapes")
        if any(shapes[key] != ["DataType['UINT8']"] for key in ("idt", "odt")):
            raise ValueError("other types")
        if len(shapes["idma_names"]) != 1 or len(shapes["odma_names"]) != 1:
            raise ValueError("other engines")
        return settings, int(height), int(width), int(inset)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DeploymentError(f"{path}: is not the description of an accelerator that paints RGB frames") from error


def read_light(path: Path, height: int, width: int) -> LightMap | None:
    """The map of the light in settings.json, or in a build's rtl/manifest.json; None where there is none.

    ``height`` and ``width`` are the accelerator's. Raises DeploymentError for a damaged one.
    """
    record = read_record(path, most=_MAX_RTL, error=DeploymentError)
    return read_light_map(record.part("light"), height, width) if record.has("light") else None


def read_error_register(path: Path) -> int | None:
    """Where each engine's register for errors on the bus is; None for FINN's engines. Raises DeploymentError."""
    record = read_record(path, most=_MAX_MANIFEST, error=DeploymentError)
    return record.whole("error_register", 0, 0xFFF0) if record.has("error_register") else None


def driver_settings(
    height: int,
    width: int,
    clock_mhz: float,
    *,
    lanes: tuple[int, int] = (3, 3),
    writeable: bool = False,
    light: LightMap | None = None,
    error_register: int | None = ERROR_REGISTER,
    inset: int = 0,
) -> dict[str, object]:
    """What settings.json holds for an accelerator of RGB frames: what finn-plus 1.6.1 writes there, and ours beside it.

    Args:
        height, width: of the accelerator's frame.
        clock_mhz: the accelerator's clock.
        lanes: bytes of a word of the stream in, and of that out.
        writeable: whether weights are written at run time.
        light: the map of an adaptive network's registers.
        error_register: where each engine's register for errors is; None for FINN's engines.
        inset: pixels that the painting is without on each side.
    """
    shapes: dict[str, object] = {"idma_names": [ENGINES[0]], "odma_names": [ENGINES[1]]}
    for end, count, less in zip("io", lanes, (0, 2 * inset), strict=True):
        rows, columns = height - less, width - less
        shapes[f"{end}dt"] = ["DataType['UINT8']"]
        shapes[f"{end}shape_normal"] = [[1, rows, columns, 3]]
        shapes[f"{end}shape_folded"] = shapes[f"{end}shape_packed"] = [[1, rows, columns, 3 // count, count]]
    shapes.update(num_inputs=1, num_outputs=1, number_of_external_weights=0, external_weights_input_shapes={})
    information = {
        "driver_type": DRIVER,
        "platform": PLATFORM,
        "io_shape_dict": shapes,
        "external_weights": False,
        "runtime_weights": writeable,
        "fclk_mhz": float(clock_mhz),
    }
    ours: dict[str, object] = {} if light is None else {"light": light.to_json()}
    if error_register is not None:
        ours["error_register"] = error_register
    return {"driver_information": information, "experiment_information": {}, **ours}


def _check_files(folder: Path, hashes: Mapping[str, Any]) -> None:
    present = _files(folder)
    for name in (BITFILE, HANDOFF, SETTINGS, *hashes):
        if name not in present:
            raise DeploymentError(f"{folder}: {name} is missing; copy the whole folder again")
    for name in present:
        # The driver loads every weight file that it finds, so one too many is as bad as one too few.
        if name not in hashes:
            raise DeploymentError(f"{folder}: {name} does not belong to the deployment; remove it")
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise DeploymentError(f"{folder}: {name} is no plain file; copy the whole folder again")
        if file_sha256(folder / name) != hashes[name]:
            raise DeploymentError(f"{folder}: {name} is damaged, its SHA-256 is another; copy the folder again")


def read_deployment(folder: Path) -> Deployment:
    """A deployment folder, every file of which is as it was written.

    Raises:
        DeploymentError: a file is missing, altered or not of the deployment, or the folder is no deployment.
    """
    record = read_record(folder / MANIFEST, most=_MAX_MANIFEST, error=DeploymentError)
    record.check_format(FORMAT)
    manifest = record.values
    hashes = manifest.get("files")
    if not isinstance(hashes, dict):
        raise DeploymentError(f"{folder / MANIFEST}: damaged, it names no files")
    try:
        _check_files(folder, hashes)
    except OSError as error:
        raise DeploymentError(f"{folder}: {error}") from error
    settings, height, width, inset = read_settings(folder / SETTINGS)
    facts: dict[str, type | tuple[type, ...]] = {"board": str, "clock_mhz": (int, float), "style": str, "bits": int}
    for key, kind in facts.items():
        if not isinstance(manifest.get(key), kind) or isinstance(manifest[key], bool):
            raise DeploymentError(f"{folder / MANIFEST}: damaged, {key} is {manifest.get(key)!r}")
    if (manifest.get("height"), manifest.get("width")) != (height, width):
        raise DeploymentError(f"{folder / MANIFEST}: names another frame than {SETTINGS}, {width}x{height}")
    return Deployment(
        folder=folder,
        height=height,
        width=width,
        settings=settings,
        light=read_light(folder / SETTINGS, height, width),
        error_register=read_error_register(folder / SETTINGS),
        inset=inset,
        **{key: manifest[key] for key in facts},
    )
