"""The shell around a stitched accelerator, as SystemVerilog.

:func:`write_shell` reads a folder of stitched RTL (:mod:`pleinair_hw.stitch.manifest`) and writes three modules:

- ``pleinair_core``: the shell (``hw/pleinair_hw/rtl/shell.sv``) with the accelerator, one AXI slave for registers, one
  AXI master for memory;
- ``pleinair_block``: the same in Verilog 2001, with what Vivado's block design wants to know of each port; its slave is
  AXI4-Lite, because Vivado's interconnect cuts bursts anyhow;
- ``pleinair_top``: the whole chip of a Zynq-7000 for open tools: processing system, clock buffer and core. It has no
  pins: clock and reset come from the processing system, memory and registers lie behind its ports GP0 and HP0.

Where matrix products are pumped, core and block have a second clock, ``ap_clk2x``, of twice the rate and in phase. Only
the accelerator uses it. Vivado's clock wizard makes both; there is no ``pleinair_top`` then.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pleinair.fpga.handoff import Window, windows
from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.manifest import LIGHT_PORT, Manifest
from pleinair_hw.stitch.verilog import Module

Family = Literal["zynq7000", "zynqmp"]

CORE, BLOCK, TOP = "pleinair_core", "pleinair_block", "pleinair_top"
#: Names of the engines, as FINN's driver and ours know them.
ENGINES = ("idma0", "odma0")
_RTL = Path(__file__).resolve().parents[1] / "rtl"
#: The shell's own sources, below before above.
SOURCES = ("dma_plan", "dma_gearbox", "dma_queue", "dma_read", "dma_write", "axi_registers", "shell")
#: Bits of a word of memory.
DATA_BITS = 64
#: The clock of pumped products.
_FAST = "ap_clk2x"


@dataclass(frozen=True)
class _Port:
    """What a family's processing system has: bits of memory's addresses, of identifiers and of a burst's length."""

    address_bits: int
    id_bits: int
    length_bits: int
    base: int


_FAMILIES: dict[Family, _Port] = {
    "zynq7000": _Port(address_bits=32, id_bits=12, length_bits=4, base=0x4000_0000),
    "zynqmp": _Port(address_bits=40, id_bits=16, length_bits=8, base=0xA000_0000),
}


@dataclass(frozen=True)
class Shell:
    """What was written.

    ``sources`` are all files to read, in order, the accelerator's included; ``data`` what they read at time 0, by names
    without a folder. ``core``, ``block`` and ``top`` are module names, ``top`` None where there is none;
    ``block_source`` is the file of ``block``, which open tools do not need. ``windows`` is the map of registers, from
    the address ``base`` on, ``map_bytes`` in all. ``light`` and ``weights`` are bytes of the accelerator's ports, as
    :func:`pleinair.fpga.handoff.handoff` takes them. ``pumped``: there is a clock of twice the rate.
    """

    folder: Path
    family: Family
    sources: tuple[Path, ...]
    data: tuple[Path, ...]
    core: str
    block: str
    block_source: Path
    top: str | None
    windows: tuple[Window, ...]
    base: int
    map_bytes: int
    light: int
    weights: tuple[int, ...]
    pumped: bool = False


def _signals(family: _Port, map_bits: int) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]]:
    """The signals of the core's slave and master: direction and bits."""
    slave: dict[str, tuple[str, int]] = {}
    for channel in ("AW", "AR"):
        slave |= {
            f"{channel}ID": ("input", family.id_bits),
            f"{channel}ADDR": ("input", map_bits),
            f"{channel}LEN": ("input", family.length_bits),
            f"{channel}SIZE": ("input", 3),
            f"{channel}BURST": ("input", 2),
            f"{channel}VALID": ("input", 1),
            f"{channel}READY": ("output", 1),
        }
    slave |= {"WDATA": ("input", 32), "WSTRB": ("input", 4), "WVALID": ("input", 1), "WREADY": ("output", 1)}
    slave |= {
        "BID": ("output", family.id_bits),
        "BRESP": ("output", 2),
        "BVALID": ("output", 1),
        "BREADY": ("input", 1),
    }
    slave |= {"RID": ("output", family.id_bits), "RDATA": ("output", 32), "RRESP": ("output", 2)}
    slave |= {"RLAST": ("output", 1), "RVALID": ("output", 1), "RREADY": ("input", 1)}
    master: dict[str, tuple[str, int]] = {}
    for channel in ("AR", "AW"):
        master |= {
            f"{channel}ADDR": ("output", family.address_bits),
            f"{channel}LEN": ("output", 4),
            f"{channel}VALID": ("output", 1),
            f"{channel}READY": ("input", 1),
        }
    master |= {"RDATA": ("input", DATA_BITS), "RRESP": ("input", 2), "RLAST": ("input", 1)}
    master |= {"RVALID": ("input", 1), "RREADY": ("output", 1)}
    master |= {"WDATA": ("output", DATA_BITS), "WSTRB": ("output", DATA_BITS // 8), "WLAST": ("output", 1)}
    master |= {"WVALID": ("output", 1), "WREADY": ("input", 1)}
    master |= {"BRESP": ("input", 2), "BVALID": ("input", 1), "BREADY": ("output", 1)}
    return slave, master


def _module(name: str, ports: list[str], body: list[str]) -> str:
    return "\n".join([f"module {name} (\n\t" + ",\n\t".join(ports) + "\n);", *body, "endmodule", ""])


def _instance(module: str, name: str, pins: dict[str, str], parameters: dict[str, str] | None = None) -> str:
    values = ", ".join(f".{key}({value})" for key, value in (parameters or {}).items())
    joined = ",\n\t\t".join(f".{pin}({wire})" for pin, wire in pins.items())
    return f"\t{module} {f'#({values}) ' if values else ''}{name} (\n\t\t{joined}\n\t);"


def _range(bits: int) -> str:
    return f"[{bits - 1}:0]"


#: The shell's signals that each AXI-lite port has of its own.
_HANDSHAKES = (
    *("AWVALID", "AWREADY", "WVALID", "WREADY", "BRESP", "BVALID", "BREADY"),
    *("ARVALID", "ARREADY", "RDATA", "RRESP", "RVALID", "RREADY"),
)


def _axilite(port: str, number: int, bits: int) -> dict[str, str]:
    """The pins of one of the accelerator's AXI-lite ports at the shell's."""
    pins = {"AWADDR": f"lite_ADDR{_range(bits)}", "ARADDR": f"lite_ADDR{_range(bits)}"}
    pins |= {name: f"lite_{name}" for name in ("WDATA", "WSTRB")}
    pins |= {name: f"lite_{name}[{number}]" for name in _HANDSHAKES}
    return {f"{port}_{name}": wire for name, wire in pins.items()}


def _core(manifest: Manifest, accelerator: Module, family: _Port, placed: tuple[Window, ...], map_bits: int) -> str:
    """The shell and the accelerator."""
    slave, master = _signals(family, map_bits)
    fast = [_FAST] if _FAST in accelerator.ports else []
    ports = ["input ap_clk", *(f"input {name}" for name in fast), "input ap_rst_n"]
    for prefix, signals in (("s_axi", slave), ("m_axi", master)):
        ports += [f"{way} {_range(bits)} {prefix}_{name}" for name, (way, bits) in signals.items()]
    own = {window.port: window for window in placed[len(ENGINES) :]}
    light = manifest.light_map
    bits_of = {LIGHT_PORT: 0 if light is None else light.address_bits}
    bits_of |= {f"s_axilite_{number}": bits for number, bits in enumerate(manifest.weights)}
    source, sink = manifest.inputs[0], manifest.outputs[0]
    frame = {end: port.words * (port.width // 8) for end, port in (("IN", source), ("OUT", sink))}
    parameters = {
        "IN_BYTES": str(source.width // 8),
        "IN_FRAME": str(frame["IN"]),
        "OUT_BYTES": str(sink.width // 8),
        "OUT_FRAME": str(frame["OUT"]),
        "DATA_BITS": str(DATA_BITS),
        "ADDRESS_BITS": str(family.address_bits),
        "MAP_BITS": str(map_bits),
        "ID_BITS": str(family.id_bits),
        "LENGTH_BITS": str(family.length_bits),
        "PORTS": str(len(own)),
    }
    if own:
        backwards = list(reversed(own.values()))
        parameters["BASES"] = "{" + ", ".join(f"32'h{window.offset:x}" for window in backwards) + "}"
        parameters["SIZES"] = "{" + ", ".join(f"32'd{window.size.bit_length() - 1}" for window in backwards) + "}"
    many = max(1, len(own))
    body = ["\twire core_rst_n;"]
    body.append(f"\twire {_range(map_bits)} lite_ADDR; wire [31:0] lite_WDATA; wire [3:0] lite_WSTRB;")
    for name in (
        "AWVALID",
        "AWREADY",
        "WVALID",
        "WREADY",
        "BVALID",
        "BREADY",
        "ARVALID",
        "ARREADY",
        "RVALID",
        "RREADY",
    ):
        body.append(f"\twire {_range(many)} lite_{name};")
    body.append(f"\twire {_range(many)}[1:0] lite_BRESP, lite_RRESP; wire {_range(many)}[31:0] lite_RDATA;")
    if not own:
        rest = ("AWREADY", "WREADY", "BRESP", "BVALID", "ARREADY", "RDATA", "RRESP", "RVALID")
        body += [f"\tassign lite_{name} = '0;" for name in rest]
    for port in (source, sink):
        body.append(f"\twire {_range(port.width)} {port.name}_TDATA; wire {port.name}_TVALID, {port.name}_TREADY;")
    fields = ("TDATA", "TVALID", "TREADY")
    pins = {"ap_clk": "ap_clk", "ap_rst_n": "ap_rst_n", "core_rst_n": "core_rst_n"}
    pins |= {
        f"{prefix}_{name}": f"{prefix}_{name}" for prefix, s in (("s_axi", slave), ("m_axi", master)) for name in s
    }
    pins |= {
        f"{end}0_V_{name}": f"{port.name}_{name}" for end, port in (("in", source), ("out", sink)) for name in fields
    }
    pins |= {f"lite_{name}": f"lite_{name}" for name in ("ADDR", "WDATA", "WSTRB", *_HANDSHAKES)}
    body.append(_instance("shell", "shell", pins, parameters))
    pins = {"ap_clk": "ap_clk", "ap_rst_n": "core_rst_n", **{name: name for name in fast}}
    pins |= {f"{port.name}_{name}": f"{port.name}_{name}" for port in (source, sink) for name in fields}
    for number, port_name in enumerate(own):
        pins |= _axilite(port_name, number, bits_of[port_name])
    for name, (way, _) in accelerator.ports.items():
        if name not in pins:
            if way == "input":
                raise StitchError(f"the shell has nothing for the accelerator's input {name}")
            pins[name] = ""  # what simulation looks at
    missing = [name for name in pins if name not in accelerator.ports]
    if missing:
        raise StitchError(f"the accelerator has no port {missing[0]}")
    body.append(_instance(manifest.top, "accelerator", pins))
    return "`timescale 1ns/1ps\n" + _module(CORE, ports, body)


#: Of the slave that the block design sees: AXI4-Lite.
_LITE = (
    *("AWADDR", "AWVALID", "AWREADY", "WDATA", "WSTRB", "WVALID", "WREADY", "BRESP", "BVALID", "BREADY"),
    *("ARADDR", "ARVALID", "ARREADY", "RDATA", "RRESP", "RVALID", "RREADY"),
)


def _block(family: _Port, map_bits: int, pumped: bool) -> str:
    """The core for Vivado's block design, in which a module reference may not be SystemVerilog."""
    slave, master = _signals(family, map_bits)
    word = (DATA_BITS // 8).bit_length() - 1
    fixed = {"SIZE": (3, f"3'd{word}"), "BURST": (2, "2'd1"), "CACHE": (4, "4'd3"), "PROT": (3, "3'd0")}
    ports = []

    def port(way: str, bits: int, name: str, interface: str, parameter: str = "") -> None:
        more = f'\t(* X_INTERFACE_PARAMETER = "{parameter}" *)\n' if parameter else ""
        extent = f"{_range(bits)} " if bits > 1 else ""
        ports.append(f'{more}\t(* X_INTERFACE_INFO = "{interface}" *)\n\t{way} {extent}{name}')

    port(
        "input",
        1,
        "ap_clk",
        "xilinx.com:signal:clock:1.0 ap_clk CLK",
        "ASSOCIATED_BUSIF s_axi:m_axi, ASSOCIATED_RESET ap_rst_n",
    )
    if pumped:
        port("input", 1, _FAST, f"xilinx.com:signal:clock:1.0 {_FAST} CLK")
    port("input", 1, "ap_rst_n", "xilinx.com:signal:reset:1.0 ap_rst_n RST", "POLARITY ACTIVE_LOW")
    kind = "xilinx.com:interface:aximm:1.0"
    facts = f"PROTOCOL AXI4LITE, DATA_WIDTH 32, ADDR_WIDTH {map_bits}, HAS_BURST 0"
    for name in _LITE:
        way, bits = slave[name]
        port(way, bits, f"s_axi_{name}", f"{kind} s_axi {name}", facts)
        facts = ""
    facts = f"PROTOCOL AXI4, DATA_WIDTH {DATA_BITS}, ADDR_WIDTH {family.address_bits}, ID_WIDTH 0, HAS_BURST 1, "
    facts += "MAX_BURST_LENGTH 16, NUM_READ_OUTSTANDING 8, NUM_WRITE_OUTSTANDING 8, SUPPORTS_NARROW_BURST 0"
    for name, (way, bits) in master.items():
        port(way, 8 if name in ("ARLEN", "AWLEN") else bits, f"m_axi_{name}", f"{kind} m_axi {name}", facts)
        facts = ""
    for channel in ("AR", "AW"):
        for name, (bits, _) in fixed.items():
            port("output", bits, f"m_axi_{channel}{name}", f"{kind} m_axi {channel}{name}")
    body = [
        f"\tassign m_axi_{channel}{name} = {value};" for channel in ("AR", "AW") for name, (_, value) in fixed.items()
    ]
    body += [f"\tassign m_axi_{channel}LEN[7:4] = 4'd0;" for channel in ("AR", "AW")]
    pins = {"ap_clk": "ap_clk", "ap_rst_n": "ap_rst_n", **({_FAST: _FAST} if pumped else {})}
    tied = {"ID": f"{family.id_bits}'d0", "LEN": f"{family.length_bits}'d0", "SIZE": "3'd2", "BURST": "2'd1"}
    for name in slave:
        pins[f"s_axi_{name}"] = f"s_axi_{name}" if name in _LITE else tied.get(name[2:], "") if name[0] == "A" else ""
    for name in master:
        pins[f"m_axi_{name}"] = f"m_axi_{name}[3:0]" if name in ("ARLEN", "AWLEN") else f"m_axi_{name}"
    body.append(_instance(CORE, "core", pins))
    text = f"module {BLOCK} (\n" + ",\n".join(ports) + "\n);"
    return "\n".join(["`timescale 1ns/1ps", text, *body, "endmodule", ""])


def _zynq_7000(family: _Port, map_bits: int) -> str:
    """The chip: processing system, clock buffer and core."""
    slave, master = _signals(family, map_bits)
    body = [
        "\twire [3:0] fclk, fclk_reset_n;",
        "\twire clk;",
        "\tBUFG bufg (.I(fclk[0]), .O(clk));",
        "\twire [31:0] gp_awaddr, gp_araddr;",
        "\twire [1:0] gp_awsize, gp_arsize;",
    ]
    body += [
        f"\twire {_range(bits)} {prefix}_{name};"
        for prefix, signals in (("s_axi", slave), ("m_axi", master))
        for name, (_, bits) in signals.items()
    ]
    for channel in ("AW", "AR"):
        body.append(f"\tassign s_axi_{channel}ADDR = gp_{channel.lower()}addr{_range(map_bits)};")
        body.append(f"\tassign s_axi_{channel}SIZE = {{1'b0, gp_{channel.lower()}size}};")
    pins = {"ap_clk": "clk", "ap_rst_n": "fclk_reset_n[0]"}
    pins |= {
        f"{prefix}_{name}": f"{prefix}_{name}" for prefix, s in (("s_axi", slave), ("m_axi", master)) for name in s
    }
    body.append(_instance(CORE, "core", pins))
    ps = {"FCLKCLK": "fclk", "FCLKRESETN": "fclk_reset_n", "FCLKCLKTRIGN": "4'd0", "FPGAIDLEN": "1'b1"}
    ps["MAXIGP0ACLK"] = "clk"
    special = {"AWADDR": "gp_awaddr", "ARADDR": "gp_araddr", "AWSIZE": "gp_awsize", "ARSIZE": "gp_arsize"}
    ps |= {f"MAXIGP0{name}": special.get(name, f"s_axi_{name}") for name in slave}
    ps["SAXIHP0ACLK"] = "clk"
    ps |= {f"SAXIHP0{name}": f"m_axi_{name}" for name in master}
    for channel in ("AR", "AW"):
        ps |= {f"SAXIHP0{channel}ID": "6'd0", f"SAXIHP0{channel}SIZE": "2'd3", f"SAXIHP0{channel}BURST": "2'd1"}
        ps |= {f"SAXIHP0{channel}LOCK": "2'd0", f"SAXIHP0{channel}CACHE": "4'd3", f"SAXIHP0{channel}PROT": "3'd0"}
        ps[f"SAXIHP0{channel}QOS"] = "4'd0"
    ps |= {"SAXIHP0WID": "6'd0", "SAXIHP0RDISSUECAP1EN": "1'b0", "SAXIHP0WRISSUECAP1EN": "1'b0"}
    body.append("\t(* keep *)\n" + _instance("PS7", "ps7", ps))
    return "\n".join(["`timescale 1ns/1ps", f"module {TOP} ();", *body, "endmodule", ""])


def write_shell(rtl: Path, out: Path, family: Family = "zynq7000") -> Shell:
    """Put the shell around a stitched accelerator.

    Args:
        rtl: a folder of :func:`pleinair_hw.stitch.write.write_rtl`, for simulation or synthesis.
        out: a folder to write to; what an earlier call left there is replaced.
        family: whose processing system it is for. "zynqmp" has no ``pleinair_top``: its processing system is made in
            Vivado's block design. Nor has a pumped accelerator: its clocks are made there.

    Raises:
        StitchError: the folder holds no accelerator that a shell can serve; the sentence says why.
    """
    manifest = Manifest.read(rtl)
    if manifest.purpose == "sizing":
        raise StitchError(f"{rtl} is an accelerator whose FIFOs are being sized")
    if len(manifest.inputs) != 1 or len(manifest.outputs) != 1:
        raise StitchError(f"{rtl}: the shell serves one stream in and one out")
    try:
        accelerator = Module(manifest.top, (rtl / f"{manifest.top}.sv").read_text())
    except OSError as error:
        raise StitchError(f"{rtl / manifest.top}.sv cannot be read: {error.strerror}") from error
    pumped = _FAST in accelerator.ports
    port = _FAMILIES[family]
    light = manifest.light_map
    light_bytes = 0 if light is None else light.bytes
    weights = tuple(1 << bits for bits in manifest.weights)
    placed = windows(ENGINES, light_bytes, weights)
    map_bits = (placed[-1].offset + placed[-1].size - 1).bit_length()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in SOURCES:
        shutil.copyfile(_RTL / f"{name}.sv", out / f"{name}.sv")
    texts = {f"{CORE}.sv": _core(manifest, accelerator, port, placed, map_bits)}
    texts[f"{BLOCK}.v"] = _block(port, map_bits, pumped)
    if family == "zynq7000" and not pumped:
        texts[f"{TOP}.sv"] = _zynq_7000(port, map_bits)
    for name, text in texts.items():
        (out / name).write_text(text)
    sources = [rtl / name for name in manifest.sources]
    sources += [out / f"{name}.sv" for name in SOURCES] + [out / name for name in texts if name.endswith(".sv")]
    return Shell(
        folder=out,
        family=family,
        sources=tuple(path.resolve() for path in sources),
        data=tuple((rtl / name).resolve() for name in manifest.data),
        core=CORE,
        block=BLOCK,
        block_source=(out / f"{BLOCK}.v").resolve(),
        top=TOP if f"{TOP}.sv" in texts else None,
        windows=placed,
        base=port.base,
        map_bytes=1 << map_bits,
        light=light_bytes,
        weights=weights,
        pumped=pumped,
    )
