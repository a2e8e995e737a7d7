"""FINN's generated nodes as one Verilog module: the complete accelerator, without Vivado.

FINN leaves stitching to Vivado. This file reads the Tcl that FINN would give to Vivado (:mod:`.tcl`) and writes the
same design as plain Verilog: an instance for every node, an AXI stream for every tensor, an AXI-lite port for every
layer whose weights can be written and the others at rest, a stream at either end, and for the stations of an adaptive
network one AXI-lite port with a decoder behind it. Every
connection's width is read from the Verilog on both sides (:mod:`.verilog`) and must agree with FINN's own figure.

:func:`write_rtl` leaves the folder that :mod:`.manifest` describes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import lcm, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pleinair.fpga.light_map import VERSION, LightMap, Station, lay_out
from pleinair_hw.finn import patches
from pleinair_hw.finn.patches import Purpose
from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.manifest import (
    CAPACITIES,
    DEBUG_BITS,
    LIGHT_PORT,
    MANIFEST,
    PERIODS,
    Fifo,
    Manifest,
    Node,
    Port,
    Stream,
    file_digest,
)
from pleinair_hw.stitch.tcl import BlockDesign, read_tcl
from pleinair_hw.stitch.verilog import Module

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

TOP = "accelerator"
_RTL = Path(__file__).resolve().parents[1] / "rtl"
GAUGE = _RTL / "gauge.sv"
DECODER = _RTL / "axilite_light.sv"
#: Bits of what the decoder asks a station, and of what that answers (hw/pleinair_hw/rtl/light_station.sv).
REQUEST, ANSWER = 48, 34
#: The light's port: inputs and outputs with their bits; of an address as many as its map says.
_PORT_IN = {"AWADDR": 0, "AWVALID": 1, "WDATA": 32, "WSTRB": 4, "WVALID": 1, "BREADY": 1}
_PORT_IN |= {"ARADDR": 0, "ARVALID": 1, "RREADY": 1}
_PORT_OUT = {"AWREADY": 1, "WREADY": 1, "BRESP": 2, "BVALID": 1, "ARREADY": 1, "RDATA": 32, "RRESP": 2, "RVALID": 1}
_FIELDS = ("TDATA", "TVALID", "TREADY")


# --- Sources ---------------------------------------------------------------------------------------------------------


class _Sources:
    """The sources of a folder of stitched RTL: copied, corrected, their data files beside them."""

    def __init__(self, folder: Path, purpose: Purpose) -> None:
        self.folder, self.purpose = folder, purpose
        self.paths: dict[str, Path] = {}  # name in sources/: where it came from
        self.texts: dict[str, str] = {}
        self.data: dict[str, str] = {}  # name in data/: SHA-256
        self.modules: dict[str, str] = {}  # module: name of the source that declares it

    def add(self, node: str, file: Path) -> None:
        """Copy one source, with the data that it reads; the same file is copied once."""
        name = file.name
        try:
            inside = patches.library_path(file)
            text = file.read_text()
            text = (
                self._with_data(node, file, text)
                if inside is None
                else patches.patched_text(inside, text, self.purpose)
            )
        except OSError as error:
            raise StitchError(f"{node}: its source {file} cannot be read: {error.strerror}") from error
        if name in self.texts:
            if self.texts[name] != text:
                raise StitchError(f"two sources are called {name} and differ: {self.paths[name]} and {file}")
            return
        self.paths[name], self.texts[name] = file, text
        (self.folder / "sources" / name).write_text(text)
        for module in re.findall(r"^\s*module\s+(\w+)", text, re.M):
            if self.modules.setdefault(module, name) != name:
                raise StitchError(f"the module {module} is declared in {self.modules[module]} and in {name}")

    def _with_data(self, node: str, file: Path, text: str) -> str:
        """``text`` with the data files it names copied to data/: named there alone, for Vivado with their paths.

        An empty initial memory beside a weight file is one that a driver fills over AXI-lite before the first frame
        (UltraRAM cannot be initialised): it starts filled here, but for Vivado.
        """
        if self.purpose != "vivado" and (file.parent / "memblock.dat").is_file():
            text = text.replace('INIT_FILE = ""', f'INIT_FILE = "{file.parent / "memblock.dat"}"')

        def moved(match: re.Match[str]) -> str:
            source = file.parent / match[1]
            name = f"{node}_{source.name}"
            if not source.is_file():
                raise StitchError(f"{node}: {file.name} reads {match[1]}, which does not exist")
            shutil.copyfile(source, self.folder / "data" / name)
            self.data[name] = file_digest(source)
            if self.purpose == "vivado":
                return f'"{(self.folder / "data" / name).resolve()}"'
            return f'"{name}"'

        return re.sub(r'"([^"\n]+\.(?:dat|mem|hex))"', moved, text)

    def module(self, name: str) -> Module:
        """The ports of a module."""
        if name not in self.modules:
            raise StitchError(f"no source declares the module {name}")
        return Module(name, self.texts[self.modules[name]])

    def ordered(self) -> list[str]:
        """Names in sources/, packages first."""
        return sorted(self.texts, key=lambda name: not re.search(r"^\s*package\s", self.texts[name], re.M))


# --- The top module --------------------------------------------------------------------------------------------------


def _instance(module: Module, name: str, connections: Mapping[str, str], width_of: Mapping[str, int]) -> str:
    """An instance with every port accounted for: connected, resting AXI-lite, or an output that nobody reads."""
    for port, wire in connections.items():
        if port not in module.ports:
            raise StitchError(f"{name}: module {module.name} has no port {port}")
        if wire in width_of and width_of[wire] != module.width(port):
            raise StitchError(
                f"{name}.{port} is {module.width(port)} bits wide, the stream that it meets {width_of[wire]}"
            )
    pairs = []
    for port, (direction, _) in module.ports.items():
        if port in connections:
            pairs.append(f".{port}({connections[port]})")
        elif direction == "output":
            pairs.append(f".{port}()")
        elif re.match(r"s_axilite_|s_axis_0_t(valid|data)$", port):
            pairs.append(f".{port}('0)")
        else:
            raise StitchError(f"{name}: nothing is connected to the input {port} of module {module.name}")
    return f"\t{module.name} {name} (\n\t\t" + ",\n\t\t".join(pairs) + "\n\t);"


def _stream_ports(module: Module, stream: str, wire: str) -> dict[str, str]:
    """``wire``'s three signals at the ports of ``stream``, which are called ``_TDATA`` or ``_tdata``."""
    result = {}
    for name in _FIELDS:
        port = f"{stream}_{name}" if f"{stream}_{name}" in module.ports else f"{stream}_{name.lower()}"
        result[port] = f"{wire}_{name}"
    return result


def _axilite_ports(module: Module, port: str) -> list[tuple[str, str, int]]:
    """Name, direction and bits of the signals of a module's AXI-lite port."""
    missing = [name for name in (*_PORT_IN, *_PORT_OUT) if f"{port}_{name}" not in module.ports]
    if missing:
        raise StitchError(f"module {module.name} has no {port}_{missing[0]}")
    return [
        (name, direction, module.width(f"{port}_{name}"))
        for direction, names in (("input", _PORT_IN), ("output", _PORT_OUT))
        for name in names
    ]


def _declaration(wire: str, width: int) -> str:
    return f"\twire [{width - 1}:0] {wire}_TDATA; wire {wire}_TVALID, {wire}_TREADY;"


def _hierarchy(node: str, design: BlockDesign, sources: _Sources) -> str:
    """A module ``NODE_block`` of a node that its Tcl makes of several cells."""
    modules = {cell: sources.module(name) for cell, name in design.cells.items()}
    connections: dict[str, dict[str, str]] = {cell: {} for cell in modules}

    def place(path: str) -> tuple[str, str]:
        cell, _, pin = path.rpartition("/")
        if cell and cell not in modules:
            raise StitchError(f"{node}: its Tcl connects the cell {cell}, which it does not make")
        return cell, pin

    for a, b in design.nets:
        (from_cell, source), (cell, pin) = place(a), place(b)
        if from_cell or not cell or source not in design.pins:
            raise StitchError(f"{node}: the connection of {a} with {b} is not one of its clock or reset to a cell")
        connections[cell][pin] = source
    declarations: list[str] = []
    widths: dict[str, int] = {}
    header = ["input ap_clk", "input ap_rst_n"]
    if set(design.pins) - {"ap_clk2x"} != {"ap_clk", "ap_rst_n"}:
        raise StitchError(
            f"{node}: of clocks and resets only ap_clk, ap_clk2x and ap_rst_n are known, not {design.pins}"
        )
    if "ap_clk2x" in design.pins:
        header.append("input ap_clk2x")
    for a, b in design.stream_nets:
        (from_cell, source), (to_cell, sink) = place(a), place(b)
        if not from_cell and source in design.axilite:
            for signal, direction, bits in _axilite_ports(modules[to_cell], sink):
                header.append(f"{direction} [{bits - 1}:0] {source}_{signal}")
                connections[to_cell][f"{sink}_{signal}"] = f"{source}_{signal}"
            continue
        if from_cell and to_cell:
            wire = f"{from_cell}_{source}"
            width = modules[from_cell].width(next(iter(_stream_ports(modules[from_cell], source, wire))))
            declarations.append(_declaration(wire, width))
            connections[from_cell] |= _stream_ports(modules[from_cell], source, wire)
            connections[to_cell] |= _stream_ports(modules[to_cell], sink, wire)
        else:
            (cell, pin), wire = ((to_cell, sink), source) if to_cell else ((from_cell, source), sink)
            if wire not in design.streams:
                raise StitchError(f"{node}: its Tcl connects the stream {wire}, which it does not make")
            ports = _stream_ports(modules[cell], pin, wire)
            width = modules[cell].width(next(iter(ports)))
            along, against = ("input", "output") if design.streams[wire] else ("output", "input")
            header += [f"{along} [{width - 1}:0] {wire}_TDATA", f"{along} {wire}_TVALID", f"{against} {wire}_TREADY"]
            connections[cell] |= ports
        widths |= {f"{wire}_TDATA": width}
    missing = [stream for stream in design.streams if f"{stream}_TDATA" not in widths]
    if missing:
        raise StitchError(f"{node}: its Tcl connects nothing to the streams {', '.join(missing)}")
    return "\n".join(
        [f"module {node}_block (\n\t" + ",\n\t".join(header) + "\n);"]
        + declarations
        + [_instance(module, f"{cell}_i", connections[cell], widths) for cell, module in modules.items()]
        + ["endmodule\n"]
    )


@dataclass
class _Wire:
    """A stream while the top module is put together; ``producer`` and ``consumer`` are empty at the edge."""

    name: str
    tensor: str
    width: int
    words: int
    producer: str = ""
    consumer: str = ""


class _Accelerator:
    """The top module while it grows, node by node in the graph's order."""

    def __init__(self, model: Any, folder: Path, purpose: Purpose) -> None:
        self.model, self.folder, self.purpose = model, folder, purpose
        self.sources = _Sources(folder, purpose)
        self.ends = {item.name: f"in{i}_V" for i, item in enumerate(model.graph.input)}
        self.ends |= {item.name: f"out{i}_V" for i, item in enumerate(model.graph.output)}
        self.wires: list[_Wire] = []
        self.reading: dict[str, _Wire] = {}  # tensor: the wire that whoever reads it is connected to
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.fifos: list[Fifo] = []
        self.nodes: list[Node] = []
        self.pacers: list[str] = []
        self.instances: list[str] = []
        self.blocks: list[str] = []
        self.pumped = False  # whether a node wants a clock of twice the rate
        self.stations: list[Any] = []  # nodes whose numbers are a light's
        self.weights: list[list[tuple[str, str, int]]] = []  # the AXI-lite ports of layers with writeable weights
        if purpose == "sizing":
            self.sources.add("", GAUGE)

    def node(self, node: Any, instance: Any) -> None:
        """Add a node: its sources, its instance, its streams."""
        self.nodes.append(_describe(instance, node.op_type))
        names = instance.get_verilog_top_module_intf_names()
        reads: list[tuple[str, _Wire]] = []
        writes: list[tuple[str, _Wire]] = []
        for stream, width in names["s_axis"]:
            index = int(stream.removeprefix("in").removesuffix("_V"))
            words = prod(int(n) for n in instance.get_folded_input_shape(index)[:-1])
            tensor = node.input[index]
            if tensor in self.ends and tensor not in self.reading:
                self.enter(tensor, _edge_port(instance, index, self.ends[tensor], width, True))
            reads.append((stream, self.read(tensor, node.name, width, words)))
        for index, (stream, width) in enumerate(names["m_axis"]):
            words = prod(int(n) for n in instance.get_folded_output_shape(index)[:-1])
            tensor = node.output[index]
            if tensor in self.ends:
                self.outputs.append(_edge_port(instance, index, self.ends[tensor], width, False))
            writes.append((stream, self.write(tensor, node.name, width, words)))
        is_fifo = node.op_type.startswith("StreamingFIFO")
        if is_fifo and self.purpose == "sizing":
            self.gauge(reads[0][1], writes[0][1], node.name)
        else:
            design = read_tcl(node.name, instance.code_generation_ipi())
            module = self.module(node.name, design)
            connections = {"ap_clk": "ap_clk", "ap_rst_n": "ap_rst_n"}
            if "ap_clk2x" in module.ports:
                pumped = "clk2x" in names and bool(names["clk2x"])
                connections["ap_clk2x"] = "ap_clk2x" if pumped else "ap_clk"
                self.pumped |= pumped
            for stream, wire in (*reads, *writes):
                connections |= _stream_ports(module, stream, wire.name)
            if node.op_type.startswith("RequantLight"):
                number = len(self.stations)
                self.stations.append(instance)
                connections["light_request"] = f"light_requests[{REQUEST * number}+:{REQUEST}]"
                connections["light_answer"] = f"light_answers[{ANSWER * number}+:{ANSWER}]"
            if names["axilite"] and f"{names['axilite'][0]}_AWADDR" in module.ports:
                own, number = names["axilite"][0], len(self.weights)
                self.weights.append(_axilite_ports(module, own))
                connections |= {f"{own}_{name}": f"s_axilite_{number}_{name}" for name, _, _ in self.weights[-1]}
            if is_fifo:
                depth, style = int(instance.get_nodeattr("depth")), str(instance.get_nodeattr("ram_style"))
                if self.purpose == "simulation":
                    connections["maxcount"] = self.maxcount()
                self.fifos.append(Fifo(node.name, reads[0][1].name, depth, reads[0][1].width, style))
            widths = {f"{wire.name}_TDATA": wire.width for _, wire in (*reads, *writes)}
            self.instances.append(_instance(module, node.name, connections, widths))
        if self.purpose == "sizing" and not is_fifo:
            for _, wire in writes:
                consumer = self.model.find_consumer(wire.tensor)
                if consumer is not None and not consumer.op_type.startswith("StreamingFIFO"):
                    self.gauge(wire, self.new(f"{wire.name}_gauged", wire), f"gauge_{wire.name}")

    def module(self, name: str, design: BlockDesign) -> Module:
        """The module to instantiate for a node, its sources added."""
        for file in design.files:
            self.sources.add(name, file)
        if design.hierarchy:
            self.blocks.append(_hierarchy(name, design, self.sources))
            return Module(f"{name}_block", self.blocks[-1])
        if list(design.cells) != [""] or design.stream_nets:
            raise StitchError(f"{name}: its Tcl makes the cells {list(design.cells.values())}, not one")
        return self.sources.module(design.cells[""])

    def new(self, name: str, like: _Wire) -> _Wire:
        """Another wire of the same tensor, the one to read from now on."""
        wire = _Wire(name, like.tensor, like.width, like.words)
        self.wires.append(wire)
        self.reading[wire.tensor] = wire
        return wire

    def enter(self, tensor: str, port: Port) -> None:
        """An input of the accelerator, paced while FIFOs are sized."""
        self.inputs.append(port)
        wire = self.new(port.name, _Wire(port.name, tensor, port.width, port.words))
        if self.purpose == "sizing":
            paced = self.new(f"{port.name}_paced", wire)
            wire.consumer = paced.producer = f"pacer_{port.name}"
            self.pacers.append(wire.consumer)
            self.instances.append(
                f"\tstream_pacer #(.W({wire.width}), .WORDS({wire.words})) {wire.consumer} (.ap_clk(ap_clk), "
                f".ap_rst_n(ap_rst_n), .period(periods[{len(self.pacers) - 1}]), {_through(wire, paced)});"
            )

    def write(self, tensor: str, node: str, width: int, words: int) -> _Wire:
        """The wire that a node's output drives."""
        wire = self.new(self.ends.get(tensor, f"s{len(self.wires)}"), _Wire("", tensor, width, words))
        wire.producer = node
        return wire

    def read(self, tensor: str, node: str, width: int, words: int) -> _Wire:
        """The wire that a node's input reads, which must fit it and have no other reader."""
        if tensor not in self.reading:
            raise StitchError(f"{node}: nothing before it produces its input {tensor}")
        wire = self.reading[tensor]
        if wire.consumer:
            raise StitchError(f"{tensor} is read by {wire.consumer} and by {node}: a stream has one reader")
        if (wire.width, wire.words) != (width, words):
            raise StitchError(
                f"{node} reads {words} words of {width} bits where {wire.producer or 'the input'} gives "
                f"{wire.words} of {wire.width}"
            )
        wire.consumer = node
        return wire

    def gauge(self, source: _Wire, sink: _Wire, name: str) -> None:
        """A queue without a size between two wires."""
        source.consumer = sink.producer = name
        self.instances.append(
            f"\tstream_gauge #(.W({source.width})) {name} (.ap_clk(ap_clk), .ap_rst_n(ap_rst_n), "
            f".capacity(capacities[{len(self.fifos)}]), .maxcount({self.maxcount()}), {_through(source, sink)});"
        )
        self.fifos.append(Fifo(name, source.name, 0, source.width, ""))

    def maxcount(self) -> str:
        """Where the next FIFO's greatest occupancy goes."""
        return f"maxcount_{len(self.fifos)}"

    def finish(self) -> Manifest:
        """Write the top module and the manifest."""
        loose = [
            f"{w.producer}'s output {w.tensor}" for w in self.wires if not w.consumer and w.tensor not in self.ends
        ]
        ends = len(self.model.graph.input), len(self.model.graph.output)
        if loose or (len(self.inputs), len(self.outputs)) != ends:
            raise StitchError(f"streams that lead nowhere: {', '.join(loose) or 'an input or output of the graph'}")
        light = self.light()
        if light is not None:
            self.sources.add("", DECODER)
        (self.folder / f"{TOP}.sv").write_text("\n".join([self.text(light), *self.blocks]))
        sources = tuple(f"sources/{name}" for name in self.sources.ordered())
        data = tuple(f"data/{name}" for name in self.sources.data)
        manifest = Manifest(
            top=TOP,
            purpose=self.purpose,
            sources=(*sources, f"{TOP}.sv"),
            data=data,
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            streams=tuple(Stream(w.name, w.tensor, w.producer, w.consumer, w.width, w.words) for w in self.wires),
            fifos=tuple(self.fifos),
            nodes=tuple(self.nodes),
            files={name: file_digest(self.folder / name) for name in (*sources, *data, f"{TOP}.sv")},
            light=None if light is None else light.to_json(),
            weights=tuple(next(bits for name, _, bits in ports if name == "AWADDR") for ports in self.weights),
        )
        manifest.write(self.folder)
        return manifest

    def light(self) -> LightMap | None:
        """The map of the stations' registers, in order of execution."""
        if not self.stations:
            return None
        networks = {str(station.get_nodeattr("Network")) for station in self.stations}
        if len(networks) != 1:
            raise StitchError("the stations of light are not of one network")
        return lay_out(networks.pop(), [_station(station) for station in self.stations])

    def text(self, light: LightMap | None) -> str:
        """The top module."""
        header = ["input ap_clk", "input ap_rst_n", *(["input ap_clk2x"] if self.pumped else [])]
        body = []
        for wire in self.wires:
            if wire.producer and wire.consumer:
                body.append(_declaration(wire.name, wire.width))
                continue
            along, against = ("input", "output") if wire.consumer else ("output", "input")
            header += [f"{along} [{wire.width - 1}:0] {wire.name}_TDATA", f"{along} {wire.name}_TVALID"]
            header += [f"{against} {wire.name}_TREADY"]
        if self.purpose in ("simulation", "sizing"):
            for signal in ("valid", "ready"):
                for number, group in enumerate(
                    self.wires[n : n + DEBUG_BITS] for n in range(0, len(self.wires), DEBUG_BITS)
                ):
                    header.append(f"output [{len(group) - 1}:0] {signal}_{number}")
                    bits = ", ".join(f"{wire.name}_T{signal.upper()}" for wire in reversed(group))
                    body.append(f"\tassign {signal}_{number} = {{{bits}}};")
            header += [f"output [31:0] maxcount_{number}" for number in range(len(self.fifos))]
        if self.purpose == "sizing":
            for name, count, file in (
                ("capacities", len(self.fifos), CAPACITIES),
                ("periods", len(self.pacers), PERIODS),
            ):
                body.append(f'\tlogic [31:0] {name} [0:{max(count, 1) - 1}];\n\tinitial $readmemh("{file}", {name});')
        for number, weights in enumerate(self.weights):
            header += [f"{way} [{bits - 1}:0] s_axilite_{number}_{name}" for name, way, bits in weights]
        if light is not None:
            ports, lines = _light_port(light)
            header += ports
            body = [*lines, *body]
        head = f"`timescale 1ns/1ps\nmodule {TOP} (\n\t" + ",\n\t".join(header) + "\n);"
        return "\n".join([head, *body, *self.instances, "endmodule\n"])


def _through(source: _Wire, sink: _Wire) -> str:
    pairs = [("in0_V", source.name), ("out0_V", sink.name)]
    return ", ".join(f".{port}_{name}({wire}_{name})" for port, wire in pairs for name in _FIELDS)


def _station(instance: Any) -> Station:
    """A station's entry in the map, without its addresses."""
    _, height, width = (int(n) for n in instance.get_nodeattr("numInputVectors"))
    name, lanes = str(instance.get_nodeattr("Layer")), int(instance.get_nodeattr("PE"))
    return Station(name, int(instance.get_nodeattr("NumChannels")), height, width, lanes)


def _light_port(light: LightMap) -> tuple[list[str], list[str]]:
    """The ports of the light and the lines with its decoder."""
    count, bits = len(light.stations), light.address_bits
    ports = [
        f"{way} [{(width or bits) - 1}:0] {LIGHT_PORT}_{name}"
        for way, names in (("input", _PORT_IN), ("output", _PORT_OUT))
        for name, width in names.items()
    ]

    def words(numbers: Iterable[int | None]) -> str:
        return "{" + ", ".join(f"32'h{0xFFFFFFFF if n is None else n:x}" for n in reversed(list(numbers))) + "}"

    parameters = {
        "STATIONS": str(count),
        "ADDRESS_BITS": str(bits),
        "HASH": f"32'h{light.hash:08x}",
        "VERSION": str(VERSION),
        "ID": str(light.id),
        "TABLES": words(station.table for station in light.stations),
        "SUMS": words(station.sums for station in light.stations),
        "REGISTERS": words(station.registers for station in light.stations),
        "CHANNEL_BITS": words((station.channels - 1).bit_length() for station in light.stations),
    }
    values = ",\n".join(f"\t\t.{name}({value})" for name, value in parameters.items())
    pins = [f".{pin}({pin})" for pin in ("ap_clk", "ap_rst_n")]
    pins += [f".{LIGHT_PORT}_{name}({LIGHT_PORT}_{name})" for name in (*_PORT_IN, *_PORT_OUT)]
    pins += [".requests(light_requests)", ".answers(light_answers)"]
    lines = [f"\twire [{REQUEST * count - 1}:0] light_requests; wire [{ANSWER * count - 1}:0] light_answers;"]
    lines.append(f"\taxilite_light #(\n{values}\n\t) light (\n\t\t" + ",\n\t\t".join(pins) + "\n\t);")
    return ports, lines


def _converter_cycles(instance: Any) -> int:
    """Cycles a frame of a width converter, for which FINN has no estimate.

    Measured: it moves one word a cycle, in or out, and once for each common multiple of both widths one either way.
    """
    narrow, wide = int(instance.get_nodeattr("inWidth")), int(instance.get_nodeattr("outWidth"))
    both = lcm(narrow, wide)
    words = prod(int(n) for n in instance.get_folded_input_shape()[:-1])
    return words * narrow // both * (both // narrow + both // wide - 1)


def _describe(instance: Any, kind: str) -> Node:
    is_converter = kind.startswith("StreamingDataWidthConverter")
    cycles = _converter_cycles(instance) if is_converter else int(instance.get_exp_cycles())
    node = Node(instance.onnx_node.name, kind, cycles)
    if not kind.startswith("MVAU"):
        return node
    pixels = prod(int(n) for n in instance.get_nodeattr("numInputVectors"))
    size = [int(instance.get_nodeattr(name)) for name in ("MW", "MH", "SIMD", "PE")]
    return Node(node.name, kind, node.cycles, pixels * size[0] * size[1], size[2] * size[3])


def _edge_port(instance: Any, index: int, name: str, width: int, is_input: bool) -> Port:
    kind = instance.get_input_datatype(index) if is_input else instance.get_output_datatype(index)
    shape = instance.get_normal_input_shape(index) if is_input else instance.get_normal_output_shape(index)
    folded = instance.get_folded_input_shape(index) if is_input else instance.get_folded_output_shape(index)
    if len(shape) != 4 or shape[0] != 1:
        raise StitchError(f"{name}: a frame of the shape {tuple(shape)} is not one image, rows by columns by channels")
    rows, columns, channels = (int(n) for n in shape[1:])
    return Port(name, width, int(folded[-1]), int(kind.bitwidth()), bool(kind.signed()), (rows, columns, channels))


def write_rtl(
    model: ModelWrapper,
    folder: Path,
    purpose: Purpose = "simulation",
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Write the accelerator that a FINN graph describes as one self-contained folder of Verilog.

    Args:
        model: nodes of RTL alone, with generated HDL (after PrepareIP); a tensor of one producer and one consumer.
        folder: where to write; what an earlier call left there is replaced.
        purpose: who reads the RTL. "vivado" names data files by their whole paths, and leaves memories empty that a
            driver fills. "sizing" is simulation with a gauge in place of every FIFO and on every other
            stream between two nodes, and a pacer behind every input (``hw/pleinair_hw/rtl/gauge.sv``).
        progress: called with each node's name.

    Raises:
        StitchError: a node that is not understood, with its name; no half-written folder has a manifest.
        PatchError: FINN's RTL library is not the one that its corrections fit.
    """
    from qonnx.custom_op.registry import getCustomOp

    (folder / MANIFEST).unlink(missing_ok=True)
    for name in ("sources", "data"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    accelerator = _Accelerator(model, folder, purpose)
    for node in model.graph.node:
        if progress is not None:
            progress(node.name)
        if not node.op_type.endswith("_rtl"):
            raise StitchError(f"{node.name}: {node.op_type} is not an operator of RTL")
        accelerator.node(node, getCustomOp(node))
    return accelerator.finish()
