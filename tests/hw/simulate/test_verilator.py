"""The simulation harness: it moves words faithfully, notices what is wrong, and its cache can be trusted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pleinair_hw.simulate import verilator
from pleinair_hw.simulate.verilator import Port, Progress, SimulationError, Simulator, build, pack, unpack
from tests import children
from tests.hw.streams import needs_verilator

WORDS = np.arange(100, dtype=np.int64)[:, None]

#: A register stage that adds ADD; `{extra}` is for faults. Counts the words that it gave.
STAGE = """
module stage #(parameter ADD = 1)(
    input ap_clk, input ap_rst_n,
    input [15:0] in0_V_TDATA, input in0_V_TVALID, output in0_V_TREADY,
    output reg [15:0] out0_V_TDATA, output reg out0_V_TVALID, input out0_V_TREADY,
    output reg [31:0] given
);
    assign in0_V_TREADY = !out0_V_TVALID || out0_V_TREADY;
    always @(posedge ap_clk) begin
        if(!ap_rst_n) begin out0_V_TVALID <= 0; given <= 0; end
        else if(in0_V_TREADY) begin out0_V_TVALID <= in0_V_TVALID; out0_V_TDATA <= in0_V_TDATA + ADD; end
        if(ap_rst_n && out0_V_TVALID && out0_V_TREADY) given <= given + 1;
        {extra}
    end
endmodule
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for these tests alone, so that the runtime library is compiled once."""
    return tmp_path_factory.mktemp("cache")


def compile_stage(folder: Path, cache: Path, extra: str = "", **options: Any) -> Simulator:
    """The register stage with something extra in its clocked block."""
    source = folder / "stage.sv"
    source.write_text(STAGE.replace("{extra}", extra))
    ports = [Port("in0_V", 16)], [Port("out0_V", 16)]
    return build("stage", [source], *ports, counters=["given"], optimise=0, cache=cache, **options)


def entries(cache: Path) -> set[str]:
    """Compiled modules in a cache."""
    return {path.name for path in cache.iterdir() if not path.name.startswith(("runtime-", "."))}


def test_pack_and_unpack_every_width() -> None:
    seed = 3
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for bits in range(1, 65):
        for signed in (False, True):
            lanes = int(rng.integers(1, 12))
            low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
            dtype = np.int64 if signed else np.uint64
            values = rng.integers(low, high, (20, lanes), dtype, endpoint=True)
            values[0], values[1] = low, high
            words = pack(values, bits)
            assert words.shape == (20, -(-lanes * bits // 8)) and words.dtype == np.uint8
            for row, word in zip(values.tolist(), words, strict=True):  # Python's own integers
                whole = sum((v % (1 << bits)) << (i * bits) for i, v in enumerate(row))
                assert int.from_bytes(word.tobytes(), "little") == whole
            assert np.array_equal(unpack(words, lanes, bits, signed), values)


def test_pack_refuses_values_that_do_not_fit() -> None:
    for values, bits in (([16], 4), ([-9], 4), ([1 << 20], 16), ([256], 8)):
        with pytest.raises(ValueError, match=f"do not fit {bits} bits"):
            pack(np.array([values]), bits)
    with pytest.raises(ValueError, match="do not fit"):
        unpack(np.zeros((3, 1), np.uint8), 3, 4, False)


@needs_verilator
def test_words_cycles_and_counters(tmp_path: Path, cache: Path) -> None:
    simulator = compile_stage(tmp_path, cache, parameters={"ADD": 5})
    result = simulator.run([pack(WORDS, 16)], [100])
    assert result.stuck is None
    assert np.array_equal(unpack(result.outputs[0], 1, 16, False), WORDS + 5)
    assert np.array_equal(result.input_cycles[0], np.arange(100))
    assert np.array_equal(result.output_cycles[0], np.arange(1, 101))
    assert result.cycles == 101 and result.counters == {"given": 100}


@needs_verilator
def test_stalls_are_random_and_repeatable(tmp_path: Path, cache: Path) -> None:
    simulator = compile_stage(tmp_path, cache)
    words = pack(np.arange(4000)[:, None], 16)
    results = [simulator.run([words], [4000], stall_in=60, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (r.input_cycles[0] for r in results)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert 4000 / 0.4 * 0.9 < results[0].cycles < 4000 / 0.4 * 1.1
    slow = simulator.run([words], [4000], stall_out=60)
    assert 4000 / 0.4 * 0.9 < slow.cycles < 4000 / 0.4 * 1.1


@needs_verilator
def test_a_restart_starts_over(tmp_path: Path, cache: Path) -> None:
    simulator = compile_stage(tmp_path, cache)
    result = simulator.run([pack(WORDS, 16)], [100], restart_at=40)
    assert np.array_equal(unpack(result.outputs[0], 1, 16, False), WORDS + 1)
    assert result.counters == {"given": 100}, "the module was not reset"


@needs_verilator
def test_the_watchdog_names_the_stuck_streams(tmp_path: Path, cache: Path) -> None:
    simulator = compile_stage(tmp_path, cache)
    missing = simulator.run([pack(WORDS, 16)], [101], idle_limit=200)
    assert missing.stuck == "nothing moved for 200 cycles in cycle 301: output out0_V gives no word 101 of 101"
    surplus = simulator.run([pack(WORDS, 16)], [99], idle_limit=200)
    assert surplus.stuck is None and len(surplus.outputs[0]) == 100, "words beyond the expected ones are told too"
    endless = simulator.run([pack(WORDS, 16)], [100], max_cycles=50)
    assert endless.stuck is not None and "limit of 50 cycles" in endless.stuck and endless.cycles == 50


@needs_verilator
def test_a_blocked_input_is_named(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "stage.sv"
    text = STAGE.replace("{extra}", "").replace("!out0_V_TVALID || out0_V_TREADY;", "given < 7 && !out0_V_TVALID;")
    source.write_text(text)
    simulator = build("stage", [source], [Port("in0_V", 16)], [Port("out0_V", 16)], cache=cache, optimise=0)
    # The stage never forgets a word that it gave: it gives one for ever, but takes no other.
    stuck = simulator.run([pack(WORDS, 16)], [1], idle_limit=100, max_cycles=400).stuck
    assert stuck is not None and "input in0_V offers word 2 of 100" in stuck


FAULTS = [
    ('if(given == 20) $error("word twenty");', "word twenty"),
    ("if(ap_rst_n) assert(given < 20);", "Assertion failed"),
    ("if(given == 20) $finish;", r"\$finish"),
    ("if(given == 20) $stop;", r"\$stop"),
    ("if(given > 20 && !out0_V_TREADY) out0_V_TVALID <= 0;", "output out0_V withdrew a word"),
    ("if(given > 20 && !out0_V_TREADY) out0_V_TDATA <= 0;", "output out0_V changed a word"),
]


@needs_verilator
@pytest.mark.parametrize(("extra", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faults_in_the_module_fail_the_run(extra: str, message: str, tmp_path: Path, cache: Path) -> None:
    simulator = compile_stage(tmp_path, cache, extra)
    with pytest.raises(SimulationError, match=message) as raised:
        simulator.run([pack(WORDS, 16)], [100], stall_out=50)
    assert "in cycle" in str(raised.value) and "\n" not in str(raised.value)


@needs_verilator
def test_sources_that_do_not_compile(tmp_path: Path, cache: Path) -> None:
    before = entries(cache)
    with pytest.raises(SimulationError, match=r"stage does not compile.*stage\.sv:\d+.*nonsense") as raised:
        compile_stage(tmp_path, cache, "nonsense <= 1;")
    assert "\n" not in str(raised.value)
    with pytest.raises(SimulationError, match=r"gone\.sv cannot be read"):
        build("gone", [tmp_path / "gone.sv"], [], [], cache=cache)
    assert entries(cache) == before
    assert not list(cache.glob(".build-*"))


@needs_verilator
def test_no_compiler(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SimulationError, match=r"no C\+\+ compiler was found \(no-such-compiler\)"):
        compile_stage(tmp_path, cache)


@needs_verilator
def test_includes_defines_and_data_files(tmp_path: Path, cache: Path) -> None:
    header, data, source = tmp_path / "widths.svh", tmp_path / "table.dat", tmp_path / "look.sv"
    header.write_text("`define WIDTH 16\n")
    source.write_text(
        STAGE.replace("module stage", '`include "widths.svh"\nmodule look')
        .replace("in0_V_TDATA + ADD", "table_[in0_V_TDATA[1:0]] + `MORE")
        .replace("assign", 'reg [`WIDTH-1:0] table_[4];\n initial $readmemh("table.dat", table_);\n assign', 1)
        .replace("{extra}", "")
    )

    def run(values: Sequence[int], more: int) -> tuple[list[int], bool]:
        data.write_text("\n".join(f"{value:x}" for value in values))
        simulator = build(
            "look",
            [source],
            [Port("in0_V", 16)],
            [Port("out0_V", 16)],
            defines={"MORE": str(more)},
            includes=[header],
            data_files=[data],
            optimise=0,
            cache=cache,
        )
        result = simulator.run([pack(np.arange(4)[:, None], 16)], [4])
        return unpack(result.outputs[0], 1, 16, False)[:, 0].tolist(), simulator.cached

    assert run([7, 8, 9, 300], 1) == ([8, 9, 10, 301], False)
    assert run([7, 8, 9, 301], 1) == ([8, 9, 10, 302], True), "data files are no part of the compiled module"
    assert run([7, 8, 9, 301], 2) == ([9, 10, 11, 303], False)


@needs_verilator
def test_wide_words_and_progress(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "stage.sv"
    source.write_text(STAGE.replace("[15:0]", "[1000:0]").replace("{extra}", ""))
    simulator = build("stage", [source], [Port("in0_V", 1001)], [Port("out0_V", 1001)], optimise=0, cache=cache)
    rng = np.random.default_rng(5)
    values = rng.integers(0, 2, (200_000, 1001), np.uint8)
    words = np.packbits(values, axis=1, bitorder="little")
    seen: list[Progress] = []
    result = simulator.run([words], [len(words)], stall_out=50, progress=seen.append)
    got = np.unpackbits(result.outputs[0], axis=1, bitorder="little")[:, :1001]
    values[:, :1] ^= 1  # the stage adds one: the lowest bit flips, and carries until a 0
    carry = values[:, 0] == 0
    for bit in range(1, 1001):
        values[:, bit] ^= carry
        carry &= values[:, bit] == 0
        if not carry.any():
            break
    assert np.array_equal(got, values)
    if result.seconds > 1.5:
        assert seen
    assert all(p.total_in == p.total_out == 200_000 and p.words_out <= p.words_in <= 200_000 for p in seen)
    assert [p.cycles for p in seen] == sorted(p.cycles for p in seen)


@needs_verilator
def test_registers_without_reset(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "stage.sv"
    text = STAGE.replace("assign", "reg [15:0] never;\n assign", 1)
    source.write_text(text.replace("{extra}", "if(given == 1000) never <= 1; out0_V_TDATA <= in0_V_TDATA ^ never;"))
    ports = [Port("in0_V", 16)], [Port("out0_V", 16)]
    values = []
    for unique in (False, True):
        simulator = build("stage", [source], *ports, unique=unique, optimise=0, cache=cache)
        for seed in (1, 1, 2):
            result = simulator.run([pack(WORDS, 16)], [100], seed=seed)
            (difference,) = set(unpack(result.outputs[0], 1, 16, False)[:, 0] ^ WORDS[:, 0])
            values.append(difference)
    assert values[:3] == [0, 0, 0]
    assert values[3] == values[4] != values[5] and 0 not in values[3:]


@needs_verilator
def test_the_cache_knows_what_a_module_depends_on(tmp_path: Path, cache: Path) -> None:
    first = compile_stage(tmp_path, cache, parameters={"ADD": 1234})
    assert not first.cached
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    again = compile_stage(folder, cache, parameters={"ADD": 1234})
    assert again.cached and again.executable == first.executable, "a source's place does not matter"
    others = [
        compile_stage(tmp_path, cache, parameters={"ADD": 1235}),
        compile_stage(tmp_path, cache, "// another text", parameters={"ADD": 1234}),
        compile_stage(tmp_path, cache, parameters={"ADD": 1234}, unique=True),
    ]
    assert not any(other.cached for other in others)
    assert len({other.executable for other in [first, *others]}) == 4


@needs_verilator
def test_the_cache_keeps_within_its_size(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = compile_stage(tmp_path, cache, parameters={"ADD": 71})
    kept = compile_stage(tmp_path, cache, parameters={"ADD": 72})
    for path in cache.iterdir():
        os.utime(path, (time.time() - 500,) * 2)
    os.utime(old.executable.parent, (time.time() - 1000,) * 2)
    abandoned = cache / ".build-1-dead"
    abandoned.mkdir()
    os.utime(abandoned, (1, 1))
    assert compile_stage(tmp_path, cache, parameters={"ADD": 72}).cached  # is the latest used now
    size = kept.executable.stat().st_size
    runtime = sum(file.stat().st_size for path in cache.glob("runtime-*") for file in path.iterdir())
    monkeypatch.setattr(verilator, "CACHE_BYTES", runtime + 2 * size + size // 2)
    new = compile_stage(tmp_path, cache, parameters={"ADD": 73})
    assert not old.executable.exists() and not abandoned.exists()
    assert kept.executable.exists() and new.executable.exists()
    with pytest.raises(SimulationError, match="build it again"):
        old.run([pack(WORDS, 16)], [100])


BUILD = """
import sys
from pathlib import Path
from pleinair_hw.simulate.verilator import Port, build
ports = [Port("in0_V", 16)], [Port("out0_V", 16)]
simulator = build("stage", [Path(sys.argv[1])], *ports, parameters={"ADD": int(sys.argv[3])}, cache=Path(sys.argv[2]))
assert simulator.executable.exists()
"""


@needs_verilator
def test_interrupted_and_parallel_builds(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "stage.sv"
    source.write_text(STAGE.replace("{extra}", ""))
    command = [sys.executable, "-c", BUILD, str(source), str(cache)]
    before = entries(cache)
    for how in (signal.SIGKILL, signal.SIGINT):
        process = children.start([*command, "900"], stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 60
        while not list(cache.glob(f".build-{process.pid}-*/units/ports.h")):
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(how)
        assert process.wait(timeout=60) != 0
        assert entries(cache) == before
        left = list(cache.glob(f".build-{process.pid}-*"))
        assert bool(left) == (how is signal.SIGKILL)
    both = [children.start([*command, "900"], stdout=None, stderr=None) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert len(entries(cache)) == len(before) + 1


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="port name"):
        build("top", [], [Port("in__0", 8)], [])
    simulator = Simulator(tmp_path / "none", (Port("in0_V", 12),), (Port("out0_V", 8),), (), (), 0.0, False)
    with pytest.raises(ValueError, match=r"in0_V needs uint8 \[words, 2\]"):
        simulator.run([np.zeros((4, 3), np.uint8)], [4])
    with pytest.raises(ValueError, match="1 outputs, but 2 expected"):
        simulator.run([np.zeros((4, 2), np.uint8)], [4, 4])
    with pytest.raises(SimulationError, match="none does not run"):
        simulator.run([np.zeros((4, 2), np.uint8)], [4])
