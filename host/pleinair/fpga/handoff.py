"""The hardware handoff (.hwh), the file in which Vivado says what a bitstream holds and at which addresses.

This module reads from it what PYNQ's own reader leaves out. It also writes one, for two uses:

- For the emulated board, which has no Vivado, together with a bitstream that programs nothing. They stand in for what
  Vivado makes of FINN's shell for Zynq (finn-plus 1.6.1, ``make_zynq_proj``): the processing system, an engine for
  memory access at either end, the accelerator's ports for weights if it has any, and a clock made from FCLK0, which is
  100 MHz. The bitstream's header is as Vivado writes it, because PYNQ reads design, part and date from there.
- For a bitstream that open tools made (``pleinair build --toolchain open``), whose clock is FCLK0 itself.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pleinair.fpga.deployment import DeploymentError

WINDOW = 0x10000
#: FCLK0 of FINN's shell, which makes the accelerator's clock from it (finn-plus-driver sets the same); MHz.
FINNS_CLOCK_MHZ = 100.0
#: What FCLK0 is divided from on a Zynq-7000, MHz: the IO PLL, as PYNQ's images set it.
IO_PLL_MHZ = 1000
_PARTITION = re.compile(r"StreamingDataflowPartition_(\d+)")
_WEIGHT_PORT = re.compile(r"s_axilite_(\d+)")
#: The accelerator's port for its light, see :mod:`pleinair.fpga.light_map`.
LIGHT_PORT = "s_axilite_light"
#: FINN's name for what lies between the two engines: the whole accelerator.
ACCELERATOR = "StreamingDataflowPartition_1"


@dataclass(frozen=True)
class Window:
    """A range of registers: ``port`` of the block ``instance``, ``size`` bytes from ``offset`` on.

    ``offset`` counts from where the processor finds the accelerator, and is a multiple of the size, a power of two.
    """

    instance: str
    port: str
    offset: int
    size: int


def windows(engines: tuple[str, str], light: int = 0, weights: Sequence[int] = ()) -> tuple[Window, ...]:
    """Where an accelerator's registers lie: its engines', its light's and those of its weights, in this order.

    ``light`` and ``weights`` are the bytes of the ports, 0 for no light. No window has less than WINDOW bytes.
    """
    ports = [(name, "s_axi_control_0", WINDOW) for name in engines]
    ports += [(ACCELERATOR, LIGHT_PORT, light)] * (light > 0)
    ports += [(ACCELERATOR, f"s_axilite_{number}", size) for number, size in enumerate(weights)]
    found, at = [], 0
    for instance, port, size in ports:
        size = max(WINDOW, 1 << (size - 1).bit_length())
        at = -(-at // size) * size
        found.append(Window(instance, port, at, size))
        at += size
    return tuple(found)


@dataclass(frozen=True)
class _Family:
    """What a handoff says of a family of chips."""

    arch: str
    device: str
    module: str
    vlnv: str
    master: str
    base: int
    parameters: Mapping[str, object]


_ZYNQ_7000 = _Family(
    arch="zynq",
    device="7z020",
    module="processing_system7",
    vlnv="xilinx.com:ip:processing_system7:5.5",
    master="M_AXI_GP0",
    base=0x4000_0000,
    parameters={
        **{f"PCW_FPGA_FCLK{i}_ENABLE": int(i == 0) for i in range(4)},
        **{f"PCW_FCLK{i}_PERIPHERAL_DIVISOR{d}": (5, 2)[d] for i in range(4) for d in (0, 1)},
        **{f"PCW_FCLK{i}_PERIPHERAL_CLKSRC": "IO PLL" for i in range(4)},
        **{f"PCW_ACT_FPGA{i}_PERIPHERAL_FREQMHZ": 100 for i in range(4)},
    },
)
_ULTRASCALE = _Family(
    arch="zynquplus",
    device="xczu7ev",
    module="zynq_ultra_ps_e",
    vlnv="xilinx.com:ip:zynq_ultra_ps_e:3.5",
    master="M_AXI_HPM0_FPD",
    base=0xA000_0000,
    parameters={
        **{f"PSU__FPGA_PL{i}_ENABLE": int(i == 0) for i in range(4)},
        **{f"PSU__CRL_APB__PL{i}_REF_CTRL__DIVISOR{d}": (15, 1)[d] for i in range(4) for d in (0, 1)},
        **{f"PSU__CRL_APB__PL{i}_REF_CTRL__SRCSEL": "IOPLL" for i in range(4)},
        **{f"PSU__CRL_APB__PL{i}_REF_CTRL__ACT_FREQMHZ": 100 for i in range(4)},
    },
)


def _root(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise DeploymentError(f"{file}: damaged ({error})") from error
    except OSError as error:
        raise DeploymentError(f"{file}: {error.strerror}") from error


def is_zynq_7000(file: Path) -> bool:
    """Whether a .hwh is for a Zynq-7000, 32-bit Arm. Raises DeploymentError."""
    info = _root(file).find("SYSTEMINFO")
    return info is not None and info.get("ARCH") == "zynq"


def weight_ports(file: Path) -> dict[tuple[int, int], tuple[int, int]]:
    """The address and the bytes of each layer's port for weights, by partition and layer. Raises DeploymentError.

    PYNQ knows one range of addresses for each block. FINN gives the accelerator a port for each layer,
    ``s_axilite_LAYER``, so the ranges are read from the .hwh here.
    """
    ports = {}
    for entry in _root(file).iter("MEMRANGE"):
        block = _PARTITION.fullmatch(entry.get("INSTANCE", ""))
        port = _WEIGHT_PORT.fullmatch(entry.get("SLAVEBUSINTERFACE", ""))
        if block and port:
            base, last = int(entry.get("BASEVALUE", "0"), 16), int(entry.get("HIGHVALUE", "0"), 16)
            ports[int(block[1]), int(port[1])] = base, last + 1 - base
    return ports


def shell_clock(file: Path) -> float:
    """The clock in MHz that FCLK0 must have for an overlay, read from its .hwh. Raises DeploymentError.

    FINN's shell has a block that makes the accelerator's clock from 100 MHz. Without one FCLK0 is the accelerator's
    clock, as its divisors say.
    """
    root = _root(file)
    modules = {module.get("MODTYPE") for module in root.iter("MODULE")}
    if "clk_wiz" in modules or _ZYNQ_7000.module not in modules:
        return FINNS_CLOCK_MHZ
    values = {entry.get("NAME"): entry.get("VALUE", "") for entry in root.iter("PARAMETER")}
    try:
        first, second = (int(values[f"PCW_FCLK0_PERIPHERAL_DIVISOR{d}"]) for d in (0, 1))
        return IO_PLL_MHZ / (first * second)
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise DeploymentError(f"{file}: does not say what clock its overlay needs") from error


def light_port(file: Path) -> tuple[int, int]:
    """The address and the bytes of the port for light; no bytes where there is none. Raises DeploymentError."""
    for entry in _root(file).iter("MEMRANGE"):
        if entry.get("SLAVEBUSINTERFACE") == LIGHT_PORT and _PARTITION.fullmatch(entry.get("INSTANCE", "")):
            base, last = int(entry.get("BASEVALUE", "0"), 16), int(entry.get("HIGHVALUE", "0"), 16)
            return base, last + 1 - base
    return 0, 0


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})


def _module(parent: ElementTree.Element, name: str, kind: str, vlnv: str, logic: bool) -> ElementTree.Element:
    return _add(
        parent,
        "MODULE",
        FULLNAME=f"/{name}",
        HWVERSION=vlnv.rpartition(":")[2],
        INSTANCE=name,
        IPTYPE="PERIPHERAL",
        IS_ENABLE=1,
        IS_PL=int(logic),
        MODCLASS="PERIPHERAL" if logic else "PROCESSOR",
        MODTYPE=kind,
        VLNV=vlnv,
    )


def _parameters(module: ElementTree.Element, values: Mapping[str, object]) -> None:
    parameters = _add(module, "PARAMETERS")
    for name, value in values.items():
        _add(parameters, "PARAMETER", NAME=name, VALUE=value)


def _interfaces(module: ElementTree.Element, names: list[str], kind: str) -> None:
    _add(module, "PORTS")
    interfaces = _add(module, "BUSINTERFACES")
    for name in names:
        _add(
            interfaces,
            "BUSINTERFACE",
            BUSNAME=f"axi_{name}",
            DATAWIDTH=32,
            NAME=name,
            TYPE=kind,
            VLNV="xilinx.com:interface:aximm:1.0",
        )


def with_windows(text: str, shell: str, placed: Sequence[Window]) -> str:
    """A .hwh that Vivado wrote for a design in which one block, ``shell``, is all of the accelerator.

    Drivers look for two engines and an accelerator by their names. So each window is given its range of registers, and
    each instance a module, as FINN's own shell would have them; the shell's one range goes. What Vivado says of the
    processing system stays as it is. Raises DeploymentError where there is no such block.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DeploymentError(f"the hardware handoff is damaged ({error})") from error
    modules = root.find("MODULES")
    found = [
        (memory, entry)
        for memory in root.iter("MEMORYMAP")
        for entry in memory.findall("MEMRANGE")
        if entry.get("INSTANCE") == shell
    ]
    if modules is None or len(found) != 1:
        raise DeploymentError(f"the hardware handoff has {len(found)} ranges of registers for {shell}, not one")
    memory, entry = found[0]
    base = int(entry.get("BASEVALUE", "0"), 16)
    memory.remove(entry)
    _add_windows(modules, memory, placed, base, entry.get("MASTERBUSINTERFACE", ""))
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _add_windows(
    modules: ElementTree.Element, ranges: ElementTree.Element, placed: Sequence[Window], base: int, master: str
) -> None:
    """A module for each instance, and a range of registers from ``base`` on for each window."""
    for name in dict.fromkeys(window.instance for window in placed):
        kind = name if name == ACCELERATOR else f"StreamingDataflowPartition_{name}"
        module = _module(modules, name, kind, f"xilinx_finn:finn:{kind}:1.0", True)
        _parameters(module, {"Component_Name": f"top_{name}_0"})
        _interfaces(module, [window.port for window in placed if window.instance == name], "SLAVE")
    for window in placed:
        _add(
            ranges,
            "MEMRANGE",
            ADDRESSBLOCK="Reg",
            BASENAME="C_BASEADDR",
            BASEVALUE=f"0x{base + window.offset:08X}",
            HIGHNAME="C_HIGHADDR",
            HIGHVALUE=f"0x{base + window.offset + window.size - 1:08X}",
            INSTANCE=window.instance,
            IS_DATA="TRUE",
            IS_INSTRUCTION="TRUE",
            MASTERBUSINTERFACE=master,
            MEMTYPE="REGISTER",
            SLAVEBUSINTERFACE=window.port,
        )


def _divided(parameters: Mapping[str, object], divisors: tuple[int, int]) -> dict[str, object]:
    """The parameters of a Zynq-7000's processing system with another FCLK0."""
    changed = {f"PCW_FCLK0_PERIPHERAL_DIVISOR{d}": divisors[d] for d in (0, 1)}
    return {
        **parameters,
        **changed,
        "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ": f"{IO_PLL_MHZ / (divisors[0] * divisors[1]):.6f}",
    }


def handoff(
    zynq_7000: bool,
    engines: tuple[str, str],
    clock_mhz: float,
    layers: int | Sequence[int] = 0,
    light: int = 0,
    divisors: tuple[int, int] | None = None,
) -> str:
    """The text of a .hwh for two engines and an accelerator, whose registers lie where :func:`windows` says.

    It has ports for the weights of ``layers`` layers (or of so many bytes each), and one of ``light`` bytes for its
    light. With ``divisors`` of FCLK0, the accelerator of a Zynq-7000 runs on FCLK0; without, on a clock of
    ``clock_mhz`` that is made from it.
    """
    family = _ZYNQ_7000 if zynq_7000 else _ULTRASCALE
    given = family.parameters if divisors is None else _divided(family.parameters, divisors)
    system = ElementTree.Element("EDKSYSTEM", EDWVERSION="1.2", VIVADOVERSION="2022.2")
    _add(system, "SYSTEMINFO", ARCH=family.arch, DEVICE=family.device, NAME="top")
    _add(system, "EXTERNALPORTS")
    _add(system, "EXTERNALINTERFACES")
    modules = _add(system, "MODULES")
    processor = _module(modules, "zynq_ps", family.module, family.vlnv, False)
    _parameters(processor, given)
    _interfaces(processor, [family.master], "MASTER")
    ranges = _add(processor, "MEMORYMAP")
    placed = windows(engines, light, layers if isinstance(layers, Sequence) else [WINDOW] * layers)
    _add_windows(modules, ranges, placed, family.base, family.master)
    if divisors is None:
        clock = _module(modules, "clk_wiz_0", "clk_wiz", "xilinx.com:ip:clk_wiz:6.0", True)
        _parameters(clock, {"CLKOUT1_REQUESTED_OUT_FREQ": clock_mhz, "CLKOUT1_OUT_FREQ": clock_mhz})
        _interfaces(clock, [], "SLAVE")
    return ElementTree.tostring(system, encoding="unicode", xml_declaration=True)


def bitstream(part: str) -> bytes:
    """A .bit that programs nothing; its header and its length are what Vivado would write."""

    def field(tag: bytes, text: str) -> bytes:
        data = text.encode() + b"\0"
        return tag + struct.pack(">h", len(data)) + data

    body = b"\xff" * 4096
    head = struct.pack(">h", 9) + b"\x0f\xf0" * 4 + b"\0" + struct.pack(">h", 1)
    head += field(b"a", "top_wrapper;UserID=0XFFFFFFFF;Version=EMULATED") + field(b"b", part)
    head += field(b"c", "2026/01/01") + field(b"d", "00:00:00")
    return head + b"e" + struct.pack(">i", len(body)) + body


def write_handoff(
    bitfile: Path,
    *,
    zynq_7000: bool,
    engines: tuple[str, str],
    clock_mhz: float,
    layers: int | Sequence[int] = 0,
    light: int = 0,
) -> None:
    """Write ``bitfile`` and the .hwh beside it; see :func:`handoff` for the rest. Raises OSError."""
    bitfile.write_bytes(bitstream((_ZYNQ_7000 if zynq_7000 else _ULTRASCALE).device))
    bitfile.with_suffix(".hwh").write_text(handoff(zynq_7000, engines, clock_mhz, layers, light))
