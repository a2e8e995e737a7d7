"""The doctor's look at a board: everything that painting with an accelerator depends on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pleinair.doctor.finding import BAD, DOUBTFUL, GOOD, Finding
from pleinair.errors import PleinairError
from pleinair.fpga.build_folder import is_build, read_build
from pleinair.fpga.deployment import Deployment, read_deployment
from pleinair.fpga.driver import SLOTS, import_pynq
from pleinair.fpga.handoff import light_port
from pleinair.fpga.overlay import Overlay, check_model
from pleinair.machine import kernel_bytes
from pleinair.models import load_model

#: $BOARD of PYNQ's images, in small letters, begins with one of these on our boards.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "pynq-z2": ("pynq-z2",),
    "ultra96": ("ultra96",),
    "aup-zu3": ("aup-zu3",),
    "kv260": ("kv260", "kria"),
    "zcu104": ("zcu104",),
}
_PROFILE = "log in by `sudo -i`, or run . /etc/profile.d/xrt_setup.sh; . /etc/profile.d/pynq_venv.sh"


def look_at_board(overlay: Overlay) -> Iterator[Finding]:
    """Look at everything that painting with an overlay needs, without painting."""
    kind, folder = overlay.kind, overlay.folder
    try:
        if kind and is_build(folder):
            build = read_build(folder)
            yield Finding("overlay", GOOD, f"{build.model} at {build.bits} bits, a build for {build.board}")
        else:
            deployment = read_deployment(folder)
            yield Finding(
                "overlay",
                GOOD,
                f"{deployment.style} at {deployment.bits} bits for {deployment.board}, tiles of "
                f"{deployment.width}x{deployment.height}; every file as it was written",
            )
            yield from look_at_light(deployment)
    except PleinairError as error:
        yield Finding("overlay", BAD, str(error), "`pleinair deploy` brings it; docs/fpga.md")
        return
    try:
        pynq: Any = import_pynq()
    except PleinairError as error:
        yield Finding("pynq", BAD, str(error), _PROFILE)
        return
    if kind:
        yield Finding("pynq", GOOD, f"pynq {pynq.__version__}; the board is {kind}")
        return
    yield look_at_version(str(pynq.__version__), deployment)
    if os.environ.get("PYNQ_REMOTE_DEVICES"):
        yield Finding("board", GOOD, f"on the network: {os.environ['PYNQ_REMOTE_DEVICES']}")
        return
    yield look_at_rights(os.geteuid(), os.environ)
    yield look_at_name(os.environ.get("BOARD", ""), deployment)
    yield look_at_buffers(deployment)


def look_at_light(deployment: Deployment) -> Iterator[Finding]:
    """Whether an adaptive style's deployment has the registers of its light."""
    model = load_model(str(deployment.model), deployment.bits)
    if not model.adaptive or model.own_light_only:
        return
    try:
        check_model(deployment, model)
    except PleinairError as error:
        yield Finding("light", BAD, str(error), "build it again with this version; docs/fpga.md")
        return
    assert deployment.light is not None
    light, (_, size) = deployment.light, light_port(deployment.bitfile.with_suffix(".hwh"))
    found = f"registers for {len(light.stations)} adaptive convolutions, map {light.hash:08x}"
    if size < light.bytes:
        found += ", but the overlay has no port for all of it"
        yield Finding("light", BAD, found, "deploy the whole build again")
    elif light.meters:
        yield Finding("light", GOOD, f"{found}; the accelerator meters")
    else:
        slow = find_spec("onnxruntime") is None
        yield Finding(
            "light",
            DOUBTFUL if slow else GOOD,
            f"{found}; the processor meters" + (" in NumPy, slowly" if slow else ""),
            "--light scene meters a few frames only; or build with metering" if slow else "",
        )


def look_at_version(version: str, deployment: Deployment) -> Finding:
    """Whether this PYNQ knows this chip."""
    if deployment.board == "pynq-z2" and not version.startswith("3."):
        return Finding("pynq", BAD, f"pynq {version}, which knows no Zynq-7000", "PYNQ's 3.1 image for the Pynq-Z2")
    return Finding("pynq", GOOD, f"pynq {version}")


def look_at_rights(user: int, environment: Mapping[str, str]) -> Finding:
    """Whether registers and buffers can be had."""
    if user != 0:
        return Finding("rights", BAD, "registers and buffers are root's", "sudo -i; or the service, which is root")
    if "XILINX_XRT" not in environment:
        return Finding("rights", BAD, "XILINX_XRT is not set: pynq finds no board without", _PROFILE)
    return Finding("rights", GOOD, "root, in PYNQ's environment")


def look_at_name(name: str, deployment: Deployment) -> Finding:
    """Whether the overlay was built for this board."""
    if not name:
        return Finding("board", DOUBTFUL, "$BOARD does not tell which it is", _PROFILE)
    if not name.lower().startswith(_NAMES.get(deployment.board, (deployment.board,))):
        return Finding("board", BAD, f"{name}, the overlay is for {deployment.board}", "build for this board")
    return Finding("board", GOOD, name)


def look_at_buffers(deployment: Deployment, meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Whether there is contiguous memory for the buffers."""
    needed = 2 * SLOTS * deployment.height * deployment.width * 3
    free = kernel_bytes(meminfo, "CmaFree")
    if free is None:
        return Finding("buffers", DOUBTFUL, "the kernel does not tell of contiguous memory", "an image of PYNQ's")
    found = f"{free / 1e6:.1f} MB of contiguous memory free, {needed / 1e6:.1f} are needed"
    if free < needed:
        return Finding("buffers", BAD, found, "shut down notebooks that hold buffers, or reboot")
    return Finding("buffers", GOOD, found)
