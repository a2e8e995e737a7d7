"""The whole chain with the real tools, where they are: a small network from integers to bits, its netlists simulated.

`make test-open` runs this. Without nextpnr, its chip database and Project X-Ray's tables it is skipped.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork
from pleinair_hw.bitstream.assemble import assemble
from pleinair_hw.bitstream.database import Database
from pleinair_hw.bitstream.read import check
from pleinair_hw.open import tools
from pleinair_hw.open.flow import Made, make_bitstream
from pleinair_hw.open.gates import STAGES, paint_with_gates
from pleinair_hw.open.place import place
from pleinair_hw.open.steps import Limits
from pleinair_hw.open.synthesis import synthesise
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.search import plan_for_cycles
from pleinair_hw.stitch.write import write_rtl
from tests.hw.open.test_synthesis import DESIGN
from tests.hw.simulate.test_simulation import small_network

pytestmark = [
    pytest.mark.routed,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(find_spec("finn") is None, reason="finn-plus is not installed"),
    pytest.mark.skipif(
        bool(tools.search(BOARDS["pynq-z2"]).missing),
        reason="open tools are missing: " + ", ".join(tools.search(BOARDS["pynq-z2"]).missing),
    ),
]
BOARD = BOARDS["pynq-z2"]
SIDE, SHIPPED_SIDE = 8, 24


class Chain(NamedTuple):
    """A network, its build's folder, and what the tools made of it."""

    network: IntegerNetwork
    folder: Path
    made: Made


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Chain:
    """A network of 4 bits, 8x8, placed and routed; results of earlier runs are in the user's cache."""
    from pleinair_hw.finn.compiler import compile_plan

    folder = tmp_path_factory.mktemp("chain")
    network = small_network(1, bits=4)
    plan = plan_for_cycles(network, SIDE, SIDE, BOARD, 3000)
    write_rtl(compile_plan(plan, folder / "finn"), folder / "synthesis", "routing")
    return Chain(network, folder, make(folder))


def make(folder: Path) -> Made:
    return make_bitstream(folder / "synthesis", folder, BOARD, tools.require(tools.search(BOARD)), 100.0)


def test_the_bits_are_what_was_asked_for(chain):
    """make_bitstream has read them back; every feature is there, on the chip's own number of frames."""
    made = chain.made
    assert made.bitfile.stat().st_size > 4_045_564
    assert made.checked["frames"] == 9996 and made.checked["found"] > 100_000
    assert 20 < made.clock.mhz <= 100 and made.clock.mhz <= made.figures.fmax_mhz * 0.85
    assert made.figures.cells["dsp"] == made.netlist["dsp"] and made.figures.cells["ramb36"] == made.netlist["bram36"]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Chain:
    """A style that ships, with weights in block RAM, on small frames."""
    from pleinair_hw.finn.compiler import compile_plan

    folder = tmp_path_factory.mktemp("shipped")
    network = load_model("starry-night-small", 4).network
    assert isinstance(network, IntegerNetwork)
    plan = plan_for_cycles(network, SHIPPED_SIDE, SHIPPED_SIDE, BOARD, 200_000)
    write_rtl(compile_plan(plan, folder / "finn"), folder / "synthesis", "routing")
    return Chain(network, folder, make(folder))


@pytest.mark.parametrize("stage", STAGES)
def test_a_shipped_styles_netlists_paint_the_references_pixels(shipped, stage):
    assert shipped.made.netlist["bram18"] + shipped.made.netlist["bram36"] > 10
    rng = np.random.default_rng(17)
    frames = rng.integers(0, 256, (2, SHIPPED_SIDE, SHIPPED_SIDE, 3), dtype=np.uint8)
    painted, _ = paint_with_gates(shipped.made.shell, shipped.folder, stage, frames, stalls=20, seed=17)
    assert np.array_equal(painted, np.stack([reference.run(shipped.network, frame) for frame in frames]))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("stalls", [0, 40])
def test_its_netlists_paint_the_references_pixels(chain, stage, stalls):
    frames = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    painted, run = paint_with_gates(chain.made.shell, chain.folder, stage, frames, stalls=stalls, seed=stalls)
    assert np.array_equal(painted, np.stack([reference.run(chain.network, frame) for frame in frames]))
    assert run.cycles > 0


def test_a_second_run_takes_all_from_the_cache(chain):
    bits = chain.made.bitfile.read_bytes()
    again = make(chain.folder)
    assert again.reused == ("synthesis", "seed 1", "bits") and again.bitfile.read_bytes() == bits


def test_from_nothing_twice_gives_the_same_file(tmp_path, monkeypatch):
    """A small design, so that place and route take seconds."""
    (tmp_path / "chip.sv").write_text(DESIGN)
    (tmp_path / "table.hex").write_text("\n".join(f"{i:02x}" for i in range(256)))
    found, limits, files = tools.require(tools.search(BOARD)), Limits(3600, 8 << 30), []
    for run in ("one", "two"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / run))
        netlist = synthesise([tmp_path / "chip.sv"], [tmp_path / "table.hex"], "chip", tmp_path / "x.log", limits)
        routed = place(netlist, found, BOARD.part, 100.0, 1, tmp_path / "x.log", limits)
        assert not netlist.was_there and not routed.was_there
        assert routed.figures.untimed == ()
        database = Database(found.database, BOARD.part)
        assemble(database, routed.fasm, tmp_path / f"{run}.bit")
        assert check(database, tmp_path / f"{run}.bit", routed.fasm).right
        files.append((tmp_path / f"{run}.bit").read_bytes())
    assert files[0] == files[1]
