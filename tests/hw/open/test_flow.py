"""The whole way with a stand-in for nextpnr and a chip that does not exist: seeds, clock, bits, cache, interruption."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from pleinair.errors import OptionError, PleinairError
from pleinair_hw.bitstream.database import BitstreamError, Database
from pleinair_hw.bitstream.read import check
from pleinair_hw.open import flow
from pleinair_hw.open.flow import Bounds, make_bitstream
from pleinair_hw.open.steps import OpenToolError, cached
from pleinair_hw.open.synthesis import CELLS, NETLIST, USAGE, VERILOG, Netlist
from pleinair_hw.open.tools import OpenTools
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.synthesis import Cells
from tests.hw.bitstream.toy import PART, write_tables
from tests.hw.open.stand_ins import VERSION, calls, files, write_chip, write_placer

BOARD = dataclasses.replace(BOARDS["pynq-z2"], part=PART)
GOOD = "GATE_X0Y0.T.INIT[01]\nSTORE_X1Y0.ON\n"


@dataclasses.dataclass
class Bench:
    """A build's folder, tools that are none, and how often synthesis ran."""

    build: Path
    tools: OpenTools
    cache: Path
    syntheses: int = 0

    def plan(self, plan: dict) -> None:
        (self.tools.placer.parent / "plan.json").write_text(json.dumps(plan))

    def run(self, **how):
        return make_bitstream(self.build / "synthesis", self.build, BOARD, self.tools, 100.0, **how)


def plan(fmax: float, fasm: str = GOOD) -> dict:
    made = files(fmax)
    made["files"]["design.fasm"] = fasm
    return made


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    """An accelerator that is an empty manifest; synthesis gives an empty netlist, through the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    placer = write_placer(tmp_path / "tools", plan(97.5))
    tables = write_tables(tmp_path / "tables")
    made = Bench(
        tmp_path / "build",
        OpenTools(placer, VERSION, write_chip(tmp_path / "tools" / "chip.bin"), tables),
        tmp_path / "cache" / "pleinair" / "open",
    )
    (made.build / "synthesis").mkdir(parents=True)

    @dataclasses.dataclass
    class Shell:
        sources: tuple = ()
        data: tuple = ()
        top: str = "top"
        light: int = 0
        weights: tuple = ()

    class NoManifest:
        @staticmethod
        def read(_):
            return NoManifest()

        def changed_files(self, _):
            return []

    def synthesise(*_, **__):
        def work(folder: Path) -> None:
            made.syntheses += 1
            for name in (NETLIST, VERILOG, CELLS):
                (folder / name).write_text("{}")
            (folder / USAGE).write_text('{"seconds": 1.0}')

        folder, there = cached("synthesis", "s" * 64, (NETLIST, VERILOG, CELLS, USAGE), work)
        return Netlist(folder, Cells(1, 0, 0, 1, 0, 0, 0, 0, 0), 0, {"seconds": 1.0}, there)

    monkeypatch.setattr(flow, "write_shell", lambda *_, **__: Shell())
    monkeypatch.setattr(flow, "Manifest", NoManifest)
    monkeypatch.setattr(flow, "synthesise", synthesise)
    return made


def test_a_bitstream_at_the_next_clock_with_its_checks(bench):
    said: list[str] = []
    made = bench.run(progress=said.append)
    assert made.clock.mhz == pytest.approx(76.923, abs=1e-3)  # 15 per cent below 97.5 are 82.9
    assert made.checked["asked"] == 3  # two of the design's, one that every bitstream of the chip has
    assert check(Database(bench.tools.database, PART), made.bitfile).right
    record = json.loads((bench.build / "open" / "open.json").read_text())
    assert record["clock_mhz"] == made.clock.mhz and record["figures"]["fmax_mhz"] == 97.5
    assert record["versions"]["nextpnr-himbaechel"] == VERSION
    names = {path.name for path in (bench.build / "open").iterdir()}
    assert names >= {"design.v", "routed.json", "design.fasm", "design.bit", "route-1.log", "bits.log"}
    steps = [said.index(step) for step in ("write the shell", "synthesise", "make the bits and read them back")]
    assert steps == sorted(steps)


def test_the_same_again_is_the_same_file_and_runs_nothing(bench):
    first = bench.run()
    bits, done = first.bitfile.read_bytes(), len(calls(bench.tools.placer))
    again = bench.run()
    assert again.bitfile.read_bytes() == bits
    assert again.reused == ("synthesis", "seed 1", "bits")
    assert (len(calls(bench.tools.placer)), bench.syntheses) == (done, 1)
    shutil.rmtree(bench.cache)
    assert bench.run().bitfile.read_bytes() == bits and bench.syntheses == 2


def test_the_fastest_of_several_seeds_wins(bench):
    bench.plan({"1": plan(88), "2": plan(121), "3": {"error": "Failed to route arc 1.0"}, "4": plan(110)})
    made = bench.run(seeds=4)
    assert made.figures.seed == 2 and made.clock.mhz == 100
    assert made.seeds == {"1": 88.0, "2": 121.0, "3": None, "4": 110.0}


def test_where_no_seed_can_be_routed_the_first_error_is_told(bench):
    bench.plan({"1": {"error": "Failed to route arc 1.0"}, "2": {"error": "Unable to place cell 'x'"}})
    with pytest.raises(OpenToolError, match="cannot be routed with seed 1"):
        bench.run(seeds=2)


def test_an_interrupted_run_goes_on_where_it_was(bench, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flow, "_bits", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bench.run(seeds=2)
    assert not (bench.build / "open" / "design.bit").exists()
    made = bench.run(seeds=2)
    assert made.reused == ("synthesis", "seed 1", "seed 2")
    assert len(calls(bench.tools.placer)) == 2


def test_features_that_the_chip_does_not_have_are_one_sentence(bench):
    bench.plan(plan(97.5, "GATE_X0Y0.T.NOTHING\n"))
    with pytest.raises(BitstreamError, match=r"no bits are known in toy9 for .*NOTHING") as raised:
        bench.run()
    assert "\n" not in str(raised.value)
    assert not (bench.build / "open" / "design.bit").exists()
    assert not any(path.name.startswith("bits") for path in bench.cache.iterdir())


def test_a_bitstream_altered_in_the_cache_is_made_again(bench):
    bits = bench.run().bitfile.read_bytes()
    (path,) = bench.cache.glob("bits-*/design.bit")
    path.write_bytes(bits[:-1] + b"\x55")
    made = bench.run()
    assert made.bitfile.read_bytes() == bits and "bits" not in made.reused


def test_a_bitstream_altered_in_a_build_leaves_the_cache_as_it_is(bench):
    made = bench.run()
    bits = made.bitfile.read_bytes()
    made.bitfile.write_bytes(b"altered")
    assert bench.run().bitfile.read_bytes() == bits


def test_another_margin_takes_another_clock_of_the_same_route(bench):
    assert bench.run(margin=0).clock.mhz == pytest.approx(90.909, abs=1e-3)
    assert bench.run(margin=45).clock.mhz == pytest.approx(52.632, abs=1e-3)
    assert len(calls(bench.tools.placer)) == 1
    with pytest.raises(OptionError, match="clock_margin"):
        bench.plan(plan(1.5))
        (bench.tools.chip_database).write_bytes(b"another")
        bench.run(margin=50)


def test_a_deadline_leaves_nothing_half_made(bench):
    bench.plan({**plan(90), "sleep": 60})
    with pytest.raises(PleinairError, match="nextpnr was stopped after 2 s"):
        bench.run(bounds=Bounds(route=2, memory=0))
    assert not list(bench.cache.glob("*part*")) and not list(bench.cache.glob("route*"))
