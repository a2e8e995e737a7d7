"""The doctor: looks at everything that a month on a roof depends on, and names a remedy for each fault."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from pleinair import durable
from pleinair.backends import Backend, open_painter
from pleinair.cameras.opening import DRIVERS, CameraSource, Driver, open_shooter
from pleinair.doctor.board import look_at_board
from pleinair.doctor.finding import BAD, DOUBTFUL, GOOD, Finding
from pleinair.durable import free_bytes
from pleinair.emulator.fabric import Simulator
from pleinair.errors import PleinairError
from pleinair.machine import kernel_bytes
from pleinair.rolls.schedule import wall_is_set
from pleinair.rolls.thermometer import Heat, Thermometer

#: Below these a roll does not go well: bytes of disk, bytes of memory, seconds to sync a frame.
_DISK, _MEMORY, _SYNC = 2_000_000_000, 300_000_000, 0.5


def examine(
    camera: CameraSource,
    style: str,
    bits: int,
    backend: Backend,
    folder: Path,
    *,
    drivers: Mapping[str, Driver] = DRIVERS,
    thermometer: Thermometer | None = None,
    simulator: Simulator | None = None,
) -> Iterator[Finding]:
    """Look at everything; ``folder`` is where the roll will be. ``drivers`` open live cameras.

    For ``simulator`` see :func:`pleinair.backends.open_painter`.
    """
    yield from look_at_packages(backend.overlay is None)
    yield look_at_camera(camera, drivers)
    yield look_at_model(style, bits)
    if backend.overlay is not None:
        yield from look_at_board(backend.overlay)
    yield look_at_engine(style, bits, backend, simulator)
    yield look_at_folder(folder)
    yield look_at_disk(folder)
    yield look_at_clock()
    yield look_at_memory()
    if thermometer is not None:
        yield look_at_heat(thermometer())


def look_at_packages(processor: bool = True) -> Iterator[Finding]:
    """What painting (by the processor), films and daylight need."""
    for package, what in (("onnxruntime", "painting"), ("av", "films"), ("astral", "filming by daylight")):
        if importlib.util.find_spec(package) is None:
            state = DOUBTFUL if package == "astral" or (package == "onnxruntime" and not processor) else BAD
            remedy = f"{what} needs it: pip install '.[cpu]' in a checkout of pleinair"
            yield Finding("packages", state, f"{package} is not installed", remedy)
    if all(importlib.util.find_spec(package) for package in ("onnxruntime", "av", "astral")):
        yield Finding("packages", GOOD, "ONNX Runtime, PyAV and astral are there")


def look_at_camera(source: CameraSource, drivers: Mapping[str, Driver] = DRIVERS) -> Finding:
    """Whether the camera gives a frame."""
    began = time.monotonic()
    try:
        camera = open_shooter(source, frames=1, drivers=drivers)
    except PleinairError as error:
        return Finding("camera", BAD, str(error), "cable, power, the group video, or another camera")
    try:
        opened = time.monotonic() - began
        frame = camera.shoot()
        if frame is None:
            return Finding("camera", BAD, f"{camera.name} gives no frame", "another camera")
        height, width = frame.image.shape[:2]
        return Finding("camera", GOOD, f"{camera.name}, {width}x{height}, a frame after {opened:.1f} s")
    except PleinairError as error:
        return Finding("camera", BAD, str(error), "cable, power, or another camera")
    finally:
        camera.close()


def look_at_model(style: str, bits: int) -> Finding:
    """Whether the style's network is there and whole."""
    from pleinair.models import load_model

    try:
        model = load_model(style, bits)
    except PleinairError as error:
        return Finding("model", BAD, str(error), "choose from `pleinair styles`, or install pleinair again")
    return Finding("model", GOOD, f"{model.style} at {bits} bits")


def look_at_engine(style: str, bits: int, backend: Backend, simulator: Simulator | None = None) -> Finding:
    """Whether the engine paints the reference's pixels here, and how fast."""
    from pleinair.models import load_model

    try:
        painter = open_painter(load_model(style, bits), backend, simulator=simulator)
    except PleinairError as error:
        return Finding("engine", BAD, str(error), "the backend reference paints anywhere, slowly")
    frame = np.full((180, 320, 3), 128, np.uint8)
    painter.paint(frame)
    began = time.monotonic()
    painter.paint(frame)
    seconds = time.monotonic() - began
    painter.close()
    per_megapixel = seconds * 1e6 / (320 * 180)
    return Finding("engine", GOOD, f"{painter.name}; {per_megapixel:.1f} s a megapixel")


def look_at_folder(folder: Path) -> Finding:
    """Whether files can be made there, synced, and how long that takes."""
    probe = folder / f".pleinair-doctor-{os.getpid()}"
    try:
        began = time.monotonic()
        durable.write_file(probe, bytes(1_000_000))
        seconds = time.monotonic() - began
        probe.unlink()
    except OSError as error:
        return Finding(
            "folder", BAD, f"{folder}: {error.strerror}", "a folder of yours on a disk that is not read-only"
        )
    found = f"{folder}: a megabyte is on the disk after {1e3 * seconds:.0f} ms"
    if seconds > _SYNC:
        return Finding("folder", DOUBTFUL, found, "a faster card (class A1 or A2), or an SSD")
    return Finding("folder", GOOD, found)


def look_at_disk(folder: Path) -> Finding:
    """Whether there is room."""
    try:
        free = free_bytes(folder)
    except OSError as error:
        return Finding("disk", BAD, f"{folder}: {error.strerror}", "a folder that there is")
    found = f"{free / 1e9:.1f} GB free"
    if free < _DISK:
        return Finding(
            "disk",
            BAD,
            found,
            "remove something, or take a larger card; a roll that keeps only what is not painted needs less",
        )
    return Finding("disk", GOOD, found)


def look_at_clock(wall: Callable[[], float] = time.time, synced: Path = Path("/run/systemd/timesync")) -> Finding:
    """Whether the clock is set, and by whom."""
    if not wall_is_set(wall()):
        return Finding(
            "clock",
            BAD,
            f"it is {time.strftime('%Y', time.localtime(wall()))} here",
            "a network at boot, or a clock with a battery (a Pi 5 has its socket)",
        )
    found = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(wall()))
    if synced.is_dir() and not (synced / "synchronized").exists():
        return Finding("clock", DOUBTFUL, f"{found}, not from the network yet", "wait, or timedatectl set-time")
    return Finding("clock", GOOD, found)


def look_at_memory(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Whether there is memory to paint with."""
    available = kernel_bytes(meminfo, "MemAvailable")
    if available is None:
        return Finding("memory", DOUBTFUL, "the kernel does not tell", "a Linux with /proc")
    found = f"{available / 1e9:.1f} GB available"
    if available < _MEMORY:
        return Finding("memory", BAD, found, "smaller frames, or starry-night-small; less beside it")
    return Finding("memory", GOOD, found)


def look_at_heat(heat: Heat) -> Finding:
    """How hot it is, and whether the firmware complains."""
    complaints = heat.now() or [f"{name} since boot" for name in heat.since_boot()]
    found = "no thermometer" if heat.celsius is None else f"{heat.celsius:.0f} C"
    if complaints:
        remedy = (
            "the Pi's own power supply, a short cable"
            if "under-voltage" in complaints[0]
            else "a heat sink, a fan, shade"
        )
        return Finding("heat", BAD if heat.now() else DOUBTFUL, ", ".join([found, *complaints]), remedy)
    if heat.celsius is not None and heat.rest() > 0:
        return Finding("heat", DOUBTFUL, found, "a heat sink, a fan, shade; painting rests when it is hot")
    if shutil.which("vcgencmd") is None:
        return Finding("heat", GOOD, f"{found}; no Pi's firmware to ask about power")
    return Finding("heat", GOOD, found)
