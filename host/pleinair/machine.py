"""What this machine is: its processor, what that can multiply, and the packages that matter for speed.

All of it comes from Linux's /proc and the metadata of installed packages, so asking takes milliseconds and imports
nothing.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

#: Instructions that decide how fast small integers multiply, by the names that the kernel gives them: x86, then Arm.
# fmt: off
FEATURES = (
    "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni_int8", "amx_int8",
    "neon", "asimd", "asimddp", "i8mm", "sve", "sve2",
)
# fmt: on
#: Packages whose versions decide the speed, where they are installed.
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "ai-edge-litert", "ncnn", "torch", "av")
#: Main ID Register's part numbers of Arm's own cores that boards and servers have (their reference manuals).
# fmt: off
_ARM_PARTS = {
    0xC07: "Cortex-A7", 0xC09: "Cortex-A9", 0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55",
    0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76", 0xD0C: "Neoverse N1",
    0xD40: "Neoverse V1", 0xD49: "Neoverse N2", 0xD4F: "Neoverse V2",
}
# fmt: on
_ARM = 0x41


@dataclass(frozen=True)
class Machine:
    """``processor``: model name; ``board``: what the device tree says, or empty; ``cores``: that this process may use.

    ``features``: those of :data:`FEATURES` that it has. ``memory``: bytes, 0 where the kernel does not tell.
    ``packages``: versions by name, of those that are installed.
    """

    processor: str
    board: str
    architecture: str
    cores: int
    features: tuple[str, ...]
    memory: int
    system: str
    python: str
    packages: dict[str, str]


def cores() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0))


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """The versions of those packages that are installed, from their metadata: none is imported."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _fields(cpuinfo: Path) -> dict[str, str]:
    """The first value of each field of /proc/cpuinfo; empty where it cannot be read."""
    fields: dict[str, str] = {}
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return fields
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip():
            fields.setdefault(key.strip(), value.strip())
    return fields


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name: the kernel's, with family and model on x86; by its part number on 64-bit Arm."""
    fields = _fields(cpuinfo)
    if "model name" in fields:
        name = " ".join(fields["model name"].split())
        if "cpu family" in fields:  # names such as "AMD EPYC" stand for several generations
            name += f" (family {fields['cpu family']} model {fields.get('model', '?')})"
        return name
    try:
        implementer, part = int(fields["CPU implementer"], 0), int(fields["CPU part"], 0)
    except (KeyError, ValueError):
        return fields.get("Hardware", "") or platform.processor() or platform.machine()
    if implementer == _ARM and part in _ARM_PARTS:
        return _ARM_PARTS[part]
    return f"{platform.machine()} implementer {implementer:#x} part {part:#x}"


def board(model: Path = Path("/proc/device-tree/model")) -> str:
    """``Raspberry Pi 5 Model B Rev 1.0`` and the like; empty on machines without a device tree."""
    try:
        return model.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Which of :data:`FEATURES` the processor has."""
    fields = _fields(cpuinfo)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return tuple(name for name in FEATURES if name in flags)


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that programs may still take, as Linux estimates them; 0 where it does not tell."""
    return kernel_bytes(meminfo, "MemAvailable") or 0


def kernel_bytes(table: Path, key: str) -> int | None:
    """The bytes that a table of the kernel, like /proc/meminfo, has in kB under ``key``; None where it has none."""
    try:
        lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
        return 1024 * int(lines[key].split()[0])
    except (OSError, KeyError, ValueError, IndexError):
        return None


def this_machine() -> Machine:
    """The machine that this runs on."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        memory = 0
    return Machine(
        processor=processor(),
        board=board(),
        architecture=platform.machine(),
        cores=cores(),
        features=features(),
        memory=memory,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=versions(),
    )
