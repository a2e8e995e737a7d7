"""Routes accelerators and notes what each takes, beside what its plan expected (``hw/pleinair_hw/plan/routed.json``).

    python -m tests.hw.open.record_routed [--seconds N] [NUMBER ...]

Rows that are there stay; new ones are added one by one until the time is over. Two that add different rows may run at
once. What `pleinair build --toolchain open` has routed already is taken from the cache. Needs the open tools
(docs/bitstream.md).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pleinair.durable import write_file
from pleinair.models import load_model
from pleinair.network.integer import IntegerNetwork
from pleinair.painting.tiles import padded_size
from pleinair_hw.open import tools
from pleinair_hw.open.flow import make_bitstream
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.plan import BuildOptions, Plan, shell
from pleinair_hw.plan.search import plan_for_cycles, plan_for_rate
from pleinair_hw.plan.survey import ROUTED
from pleinair_hw.stitch.write import write_rtl
from tests.hw.simulate.test_simulation import small_network

BOARD = BOARDS["pynq-z2"]
#: Random networks: seed, width, bits, blocks, kernel; the side of the frame, and the cycles that it may take.
Small = tuple[int, int, int, int, int, int, int]
#: Styles that ship, without their margin: style, bits, side of the frame, the cycles that it may take.
Bare = tuple[str, int, int, int]
#: Styles that ship, as `pleinair build` plans them: style, bits, width, height, frames a second, trimmed or not.
Shipped = tuple[str, int, int, int, float, bool]
CONFIGURATIONS: list[Small | Bare | Shipped] = [
    ("starry-night-small", 4, 320, 240, 10, False),
    ("starry-night-small", 8, 320, 240, 4, False),
    ("starry-night-small", 4, 640, 480, 10, False),
    ("starry-night", 8, 320, 240, 4, True),
    ("starry-night-small", 4, 24, 200_000),
    ("starry-night", 8, 16, 400_000),
    (1, 4, 4, 1, 3, 8, 3000),
    (2, 4, 8, 1, 3, 8, 3000),
    (3, 4, 4, 1, 3, 64, 100_000),
    (4, 4, 8, 1, 3, 64, 100_000),
    (5, 4, 4, 1, 3, 8, 600),
    (6, 4, 8, 1, 3, 8, 600),
    (7, 8, 4, 1, 3, 8, 3000),
    (8, 8, 8, 1, 3, 8, 3000),
    (11, 4, 4, 2, 3, 8, 3000),
    (12, 4, 8, 2, 3, 8, 3000),
    (13, 4, 4, 1, 5, 16, 4000),
    (14, 4, 8, 1, 5, 16, 4000),
    (17, 4, 4, 1, 3, 256, 800_000),
    (18, 4, 8, 1, 3, 256, 800_000),
]


def plan_of(configuration: Sequence[Any]) -> Plan:
    """The plan of a configuration, as it is today."""
    if isinstance(configuration[0], int):
        seed, width, bits, blocks, kernel, side, cycles = configuration
        network = small_network(seed, width=width, bits=bits, blocks=blocks, kernel=kernel)
        return plan_for_cycles(network, side, side, BOARD, cycles, options=BuildOptions(open_tools=True))
    style, bits, *rest = configuration
    model = load_model(style, bits)
    assert isinstance(model.network, IntegerNetwork)
    if len(rest) == 2:
        side, cycles = rest
        return plan_for_cycles(model.network, side, side, BOARD, cycles, options=BuildOptions(open_tools=True))
    wide, high, fps, trimmed = rest
    height, width = padded_size(high, wide, model.margin, model.network.stride)
    options = BuildOptions(open_tools=True, trimmed=trimmed)
    return plan_for_rate(model.network, height, width, BOARD, fps, options=options)


def row(configuration: Small | Bare | Shipped) -> dict[str, Any]:
    """Route a configuration."""
    from pleinair_hw.finn.compiler import compile_plan

    plan = plan_of(configuration)
    found = tools.require(tools.search(BOARD))
    with tempfile.TemporaryDirectory(prefix="pleinair-routed-") as name:
        folder = Path(name)
        write_rtl(compile_plan(plan, folder / "finn"), folder / "synthesis", "routing")
        made = make_bitstream(folder / "synthesis", folder, BOARD, found, 100.0, progress=print)
    return {
        "configuration": list(configuration),
        "cycles": plan.cycles,
        "planned": asdict(plan.total),
        "of it shell": asdict(shell(plan.dataflow, plan.stages, plan.board, plan.options)),
        "synthesised": dict(made.netlist),
        "delays": made.delays,
        "routed": {"lut_sites": made.figures.lut_sites, **made.figures.cells},
        "fmax_mhz": round(made.figures.fmax_mhz, 2),
        "placer_mhz": round(made.figures.placer_mhz, 2),
        "clock_mhz": round(made.clock.mhz, 3),
        "untimed": list(made.figures.untimed),
        "hold_misses": made.figures.hold_misses,
        "steady": made.figures.steady,
        "slowest": {
            "logic": round(sum(hop.ns for hop in made.figures.slowest if hop.kind != "routing"), 3),
            "wires": round(sum(hop.ns for hop in made.figures.slowest if hop.kind == "routing"), 3),
        },
        "usage": {step: dict(used) for step, used in made.usage.items()},
        "versions": dict(made.versions),
    }


def read() -> list[dict[str, Any]]:
    """The rows that are there."""
    rows: list[dict[str, Any]] = json.loads(ROUTED.read_text()) if ROUTED.exists() else []
    return rows


def main() -> None:
    """Add rows until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no route after so many")
    parser.add_argument("numbers", type=int, nargs="*", metavar="NUMBER", help="of CONFIGURATIONS, from 0; else all")
    chosen = parser.parse_args()
    until = time.monotonic() + chosen.seconds
    for number in chosen.numbers or range(len(CONFIGURATIONS)):
        configuration = CONFIGURATIONS[number]
        if any(r["configuration"] == list(configuration) for r in read()) or time.monotonic() > until:
            continue
        made = row(configuration)
        order = [list(c) for c in CONFIGURATIONS]
        rows = sorted([*read(), made], key=lambda r: order.index(r["configuration"]))
        write_file(ROUTED, (json.dumps(rows, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
