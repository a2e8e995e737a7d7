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
from pleinair.network.light import Light, in_light
from pleinair.painting import meter
from pleinair.painting.tiles import Window
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
from pleinair_hw.plan.plan import BuildOptions
from pleinair_hw.plan.search import plan_for_cycles
from pleinair_hw.shell.board import Run
from pleinair_hw.stitch.manifest import Manifest
from pleinair_hw.stitch.write import write_rtl
from tests.hw.open.test_synthesis import DESIGN
from tests.hw.simulate.test_simulation import small_network
from tests.networks import adaptive_network

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
STALLS = 20
#: Styles that ship, the first without light: bits, side of the frame, cycles that it may take.
SHIPPED = [("starry-night-small", 4, 24, 200_000), ("starry-night", 8, 16, 400_000)]


class Chain(NamedTuple):
    """A network, its build's folder, what the tools made of it, and frames in their lights with what must come out."""

    network: IntegerNetwork
    folder: Path
    made: Made
    frames: np.ndarray
    lights: list[Light]
    expected: np.ndarray

    def painted(self, stage: str, stalls: int) -> tuple[np.ndarray, Run]:
        """What the netlist of a stage makes of the frames."""
        return paint_with_gates(
            self.made.shell,
            self.folder,
            stage,
            self.frames,
            lights=self.lights,
            light_map=Manifest.read(self.folder / "synthesis").light_map,
            stalls=stalls,
            seed=stalls,
        )


def made_of(folder: Path, network: IntegerNetwork, side: int, cycles: int, count: int) -> Chain:
    """A network placed and routed, with random frames; results of earlier runs are in the user's cache."""
    from pleinair_hw.finn.compiler import compile_plan

    plan = plan_for_cycles(network, side, side, BOARD, cycles, options=BuildOptions(open_tools=True))
    write_rtl(compile_plan(plan, folder / "finn"), folder / "synthesis", "routing")
    frames = np.random.default_rng(5).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    frames[1] //= 7
    lights, networks = list[Light](), [network] * count
    if Manifest.read(folder / "synthesis").light_map is not None:
        lights = [meter.measure(network, frame, Window(2, 3, side - 1, side - 2)) for frame in frames]
        networks = [in_light(network, light) for light in lights]
        assert lights[0] != lights[1]
    expected = np.stack([reference.run(lit, frame) for lit, frame in zip(networks, frames, strict=True)])
    return Chain(network, folder, make(folder), frames, lights, expected)


def make(folder: Path) -> Made:
    return make_bitstream(folder / "synthesis", folder, BOARD, tools.require(tools.search(BOARD)), 100.0)


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Chain:
    return made_of(tmp_path_factory.mktemp("chain"), small_network(1, bits=4), 8, 3000, 3)


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory) -> Chain:
    return made_of(tmp_path_factory.mktemp("adaptive"), adaptive_network(3, width=2, blocks=1), 16, 2500, 2)


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda row: f"{row[0]}-{row[1]}")
def shipped(request, tmp_path_factory) -> Chain:
    """A style that ships, with weights in block RAM, on small frames."""
    style, bits, side, cycles = request.param
    network = load_model(style, bits).network
    assert isinstance(network, IntegerNetwork)
    return made_of(tmp_path_factory.mktemp("shipped"), network, side, cycles, 2)


def test_the_bits_are_what_was_asked_for(chain):
    """make_bitstream has read them back; every feature is there, on the chip's own number of frames."""
    made = chain.made
    assert made.bitfile.stat().st_size > 4_045_564
    assert made.checked["frames"] == 9996 and made.checked["found"] > 100_000
    assert 20 < made.clock.mhz <= 100 and made.clock.mhz <= made.figures.fmax_mhz * 0.85
    assert made.figures.cells["dsp"] == made.netlist["dsp"] and made.figures.cells["ramb36"] == made.netlist["bram36"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("stalls", [0, 40])
def test_its_netlists_paint_the_references_pixels(chain, stage, stalls):
    painted, run = chain.painted(stage, stalls)
    assert np.array_equal(painted, chain.expected)
    assert run.cycles > 0


@pytest.mark.parametrize("stage", STAGES)
def test_two_lights_through_the_netlists(adaptive, stage):
    assert len(adaptive.lights) == 2
    painted, _ = adaptive.painted(stage, STALLS)
    assert np.array_equal(painted, adaptive.expected)


@pytest.mark.parametrize("stage", STAGES)
def test_a_shipped_styles_netlists_paint_the_references_pixels(shipped, stage):
    assert shipped.made.netlist["bram18"] + shipped.made.netlist["bram36"] > 10
    painted, run = shipped.painted(stage, STALLS)
    print(f"{stage}: {run.cycles:,} cycles, {np.count_nonzero(painted != shipped.expected)} bytes differ")
    assert np.array_equal(painted, shipped.expected)


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
