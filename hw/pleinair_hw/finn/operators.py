"""pleinair's operators as FINN custom operators with RTL backends, and FINN's own two that had none.

Importing this module registers them in FINN's own domains (in a foreign one, estimates and HDL generation skip nodes
without a word), so import it before any model that holds them is loaded; FINN must have been prepared first
(:func:`pleinair_hw.finn.environment.prepare`). ``RequantShift``, ``RequantLight``, ``AddClamp``, ``TapSum``,
``PixelShuffle``, ``SpaceToDepth``, ``WindowCentre`` and ``TrimBorder`` are new; ``DuplicateStreams`` and
``UpsampleNearestNeighbour`` are FINN's, which has them in HLS only. All run in Python on integers
(``pleinair_hw.finn.golden``) and generate a Verilog wrapper around a block of ``hw/rtl``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import finn.custom_op.fpgadataflow as finn_operators
import finn.custom_op.fpgadataflow.rtl as finn_rtl_operators
import numpy as np
from finn.custom_op.fpgadataflow.duplicatestreams import DuplicateStreams
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.matrixvectoractivation import MVAU
from finn.custom_op.fpgadataflow.rtlbackend import RTLBackend
from finn.custom_op.fpgadataflow.streamingdatawidthconverter import StreamingDataWidthConverter
from finn.custom_op.fpgadataflow.upsampler import UpsampleNearestNeighbour
from finn.util.basic import make_build_dir
from qonnx.core.datatype import DataType
from qonnx.custom_op.registry import add_op_to_domain

from pleinair_hw.finn import golden
from pleinair_hw.finn.graph import DOMAIN
from pleinair_hw.plan import resources
from pleinair_hw.plan.dataflow import rounding_offset, signed_bits
from pleinair_hw.plan.resources import Resources

RTL = Path(__file__).resolve().parents[1] / "rtl"
#: The block that all others put at their output.
QUEUE = "output_queue"
#: Bits of what a station of light is asked and of what it answers (hw/pleinair_hw/rtl/light_station.sv).
REQUEST_BITS, ANSWER_BITS = 48, 34


class _Operator(HWCustomOp):  # type: ignore[misc]
    """Attributes and shapes that our operators share: NHWC streams, PE channels a word."""

    def get_nodeattr_types(self) -> dict[str, Any]:
        """FINN's attributes and ours; ``numInputVectors`` is [1, H, W] of the input."""
        attributes: dict[str, Any] = super().get_nodeattr_types()
        attributes.update(
            {
                "NumChannels": ("i", True, 0),
                "PE": ("i", False, 1),
                "numInputVectors": ("ints", True, []),
                "inputDataType": ("s", True, ""),
                "outputDataType": ("s", True, ""),
            }
        )
        return attributes

    @property
    def channels(self) -> int:
        """Output channels."""
        return int(self.get_nodeattr("NumChannels"))

    @property
    def lanes(self) -> int:
        """Output channels in a word."""
        return int(self.get_nodeattr("PE"))

    @property
    def vectors(self) -> list[int]:
        """[1, H, W] of the input."""
        return [int(v) for v in self.get_nodeattr("numInputVectors")]

    def get_input_datatype(self, ind: int = 0) -> Any:
        """The stream's integers."""
        return DataType[self.get_nodeattr("inputDataType")]

    def get_output_datatype(self, ind: int = 0) -> Any:
        """The stream's integers."""
        return DataType[self.get_nodeattr("outputDataType")]

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, C]."""
        return (*self.vectors, self.channels)

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, C]."""
        return self.get_normal_input_shape()

    def get_folded_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, words, lanes]."""
        shape = self.get_normal_input_shape(ind)
        return (*shape[:-1], shape[-1] // self.lanes, self.lanes)

    def get_folded_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, words, lanes]."""
        shape = self.get_normal_output_shape()
        return (*shape[:-1], shape[-1] // self.lanes, self.lanes)

    def get_instream_width(self, ind: int = 0) -> int:
        """Bits of an input word."""
        width: int = self.get_folded_input_shape(ind)[-1] * self.get_input_datatype(ind).bitwidth()
        return width

    def get_outstream_width(self, ind: int = 0) -> int:
        """Bits of an output word."""
        width: int = self.get_folded_output_shape()[-1] * self.get_output_datatype().bitwidth()
        return width

    def get_exp_cycles(self) -> int:
        """One word a cycle, in or out."""
        shapes = (self.get_folded_input_shape(), self.get_folded_output_shape())
        return max(int(np.prod(shape[:-1])) for shape in shapes)

    def infer_node_datatype(self, model: Any) -> None:
        """Take the input's type over; the output's stands in the attributes."""
        self.set_nodeattr("inputDataType", model.get_tensor_datatype(self.onnx_node.input[0]).name)
        model.set_tensor_datatype(self.onnx_node.output[0], self.get_output_datatype())

    def integers(self, context: dict[str, np.ndarray], number: int = 0) -> np.ndarray:
        """An input as int64 [H, W, C]."""
        values: np.ndarray = np.rint(context[self.onnx_node.input[number]]).astype(np.int64)[0]
        return values

    def put(self, context: dict[str, np.ndarray], result: np.ndarray) -> None:
        """The output: float32 where that holds it exactly, else float64."""
        wide = self.get_output_datatype().bitwidth() > 24
        context[self.onnx_node.output[0]] = result[None].astype(np.float64 if wide else np.float32)

    def estimate(self, fpgapart: str) -> Resources:
        """What the block takes."""
        raise NotImplementedError

    def lut_estimation(self, fpgapart: str) -> int:
        """LUTs, those used as memory included."""
        e = self.estimate(fpgapart)
        return int(e.lut + e.lutram)

    def bram_estimation(self, fpgapart: str) -> int:
        """BRAM18."""
        return int(self.estimate(fpgapart).bram18)


class RequantShift(_Operator):
    """``clamp(round_half_even((x + bias[c]) / 2**shift[c]))``; inputs x, bias [C], shift [C]."""

    def get_folded_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Only the first input is a stream."""
        return super().get_folded_input_shape() if ind == 0 else (self.channels,)

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Bias and shift are vectors."""
        return super().get_normal_input_shape() if ind == 0 else (self.channels,)

    def get_instream_width(self, ind: int = 0) -> int:
        """Bits of an input word; parameters have no stream."""
        return super().get_instream_width() if ind == 0 else 0

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model."""
        bias, shift = (context[name].astype(np.int64) for name in self.onnx_node.input[1:])
        out = self.get_output_datatype()
        self.put(context, golden.requant_shift(self.integers(context), bias, shift, out.bitwidth(), out.signed()))

    def get_op_and_param_counts(self) -> dict[str, int]:
        """A bias a channel."""
        return {"param_bias": self.channels}

    def estimate(self, fpgapart: str) -> Resources:
        """Without the parameters at hand: shifts over the whole range that the input's width allows."""
        i, o = self.get_input_datatype().bitwidth(), self.get_output_datatype().bitwidth()
        return resources.requant(self.lanes, self.channels, i, i, max(1, i - o), o)


class RequantLight(RequantShift):
    """A station: ``clamp(round_half_even((x + bias[c]) * multiplier[c] / 2**shift[c]))`` in a light that may change.

    Inputs x, bias [C], multiplier [C], shift [C]. ``Layer``: the convolution's name. ``Network``: the identity of the
    network (:func:`pleinair.network.light.identity`). ``BiasBits`` and ``Longest``: width of any light's bias, and the
    greatest shift. ``Meter``: channels that are metered at a time; 0 for none.
    """

    def get_nodeattr_types(self) -> dict[str, Any]:
        """What any light may hold."""
        attributes = super().get_nodeattr_types()
        attributes.update(
            {
                "Layer": ("s", True, ""),
                "Network": ("s", True, ""),
                "BiasBits": ("i", True, 0),
                "Longest": ("i", True, 0),
                "Meter": ("i", False, 1),
            }
        )
        return attributes

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model, in the light that the network holds."""
        bias, multiplier, shift = (context[name].astype(np.int64) for name in self.onnx_node.input[1:])
        out, x = self.get_output_datatype(), self.integers(context)
        self.put(
            context, golden.requant_light(x, bias, multiplier, shift, bits=out.bitwidth(), signed=bool(out.signed()))
        )

    def get_op_and_param_counts(self) -> dict[str, int]:
        """A light's three numbers a channel."""
        return {"param_light": 3 * self.channels}

    def estimate(self, fpgapart: str) -> Resources:
        """Table, product, shift and meter."""
        i, o = self.get_input_datatype().bitwidth(), self.get_output_datatype().bitwidth()
        bias_bits, longest = int(self.get_nodeattr("BiasBits")), int(self.get_nodeattr("Longest"))
        positions = self.vectors[1] * self.vectors[2]
        metered = bool(self.get_nodeattr("Meter"))
        return resources.requant_light(self.lanes, self.channels, i, bias_bits, longest, o, positions, metered=metered)


class AddClamp(_Operator):
    """Trunk plus signed branch, clamped to the output's range."""

    def get_nodeattr_types(self) -> dict[str, Any]:
        """The second input has a type of its own."""
        attributes = super().get_nodeattr_types()
        attributes["inputDataType1"] = ("s", True, "")
        return attributes

    def get_input_datatype(self, ind: int = 0) -> Any:
        """Trunk (0) or branch (1)."""
        return DataType[self.get_nodeattr("inputDataType1" if ind else "inputDataType")]

    def infer_node_datatype(self, model: Any) -> None:
        """Both inputs' types."""
        super().infer_node_datatype(model)
        self.set_nodeattr("inputDataType1", model.get_tensor_datatype(self.onnx_node.input[1]).name)

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model."""
        bits = self.get_output_datatype().bitwidth()
        self.put(context, golden.add_clamp(self.integers(context), self.integers(context, 1), bits))

    def estimate(self, fpgapart: str) -> Resources:
        """Adder, clamp and handshake."""
        return resources.add(self.lanes, self.get_output_datatype().bitwidth())


class TapSum(_Operator):
    """Adds ``Taps`` partial sums a channel along the row; see hw/pleinair_hw/rtl/tap_sum.sv."""

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Number of taps and of outputs dropped at the row's start."""
        attributes = super().get_nodeattr_types()
        attributes.update({"Taps": ("i", True, 0), "Lead": ("i", True, 0)})
        return attributes

    @property
    def taps(self) -> int:
        """Partial sums for each output."""
        return int(self.get_nodeattr("Taps"))

    @property
    def lead(self) -> int:
        """Outputs dropped at a row's start."""
        return int(self.get_nodeattr("Lead"))

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W + lead, C * taps]."""
        return (*self.vectors, self.channels * self.taps)

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, C]."""
        one, height, width = self.vectors
        return (one, height, width - self.lead, self.channels)

    def get_folded_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """A word holds all taps of PE channels."""
        return (*self.vectors, self.channels // self.lanes, self.lanes * self.taps)

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model."""
        self.put(context, golden.tap_sum(self.integers(context), self.taps, self.lead))

    def estimate(self, fpgapart: str) -> Resources:
        """Adders, partial sums and handshake."""
        i, o = self.get_input_datatype().bitwidth(), self.get_output_datatype().bitwidth()
        return resources.tap_sum(self.lanes, self.channels, self.taps, i, o)


class PixelShuffle(_Operator):
    """Four phases to pixels of twice the resolution; see hw/pleinair_hw/rtl/pixel_shuffle.sv.

    With a ``Border`` of 1, (H + 1) x (W + 1) windows to 2 H x 2 W pixels, else H x W.
    """

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Where the two row buffers live, and whether the outer phases are dropped."""
        attributes = super().get_nodeattr_types()
        attributes["ram_style"] = ("s", False, "auto", {"auto", "block", "distributed", "ultra"})
        attributes["Border"] = ("i", False, 1, {0, 1})
        return attributes

    @property
    def border(self) -> int:
        """1 where the outer phases are dropped, else 0."""
        return int(self.get_nodeattr("Border"))

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H + border, W + border, 4 C]."""
        return (*self.vectors, 4 * self.channels)

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, 2 H, 2 W, C]."""
        one, height, width = self.vectors
        return (one, 2 * (height - self.border), 2 * (width - self.border), self.channels)

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model."""
        self.put(context, golden.pixel_shuffle(self.integers(context), border=bool(self.border)))

    def estimate(self, fpgapart: str) -> Resources:
        """Row buffers and control."""
        words = 2 * (self.vectors[2] - self.border) * self.channels // self.lanes
        bits = self.lanes * self.get_output_datatype().bitwidth()
        return resources.pixel_shuffle(words, bits, self.get_nodeattr("ram_style"))

    def uram_estimation(self, fpgapart: str) -> int:
        """URAM."""
        return int(self.estimate(fpgapart).uram)


class SpaceToDepth(_Operator):
    """``Block`` x ``Block`` pixels to one; see hw/pleinair_hw/rtl/space_to_depth.sv. NumChannels are the output's."""

    def get_nodeattr_types(self) -> dict[str, Any]:
        """The block's side, and where its upper rows live."""
        attributes = super().get_nodeattr_types()
        attributes["ram_style"] = ("s", False, "auto", {"auto", "block", "distributed", "ultra"})
        attributes["Block"] = ("i", True, 0)
        return attributes

    @property
    def block(self) -> int:
        """Rows and columns of a block."""
        return int(self.get_nodeattr("Block"))

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, C / block**2]."""
        return (*self.vectors, self.channels // self.block**2)

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H / block, W / block, C]."""
        one, height, width = self.vectors
        return (one, height // self.block, width // self.block, self.channels)

    def get_exp_cycles(self) -> int:
        """The upper rows of blocks come in, then whole blocks go out."""
        return int(np.prod(self.get_folded_input_shape()[:-1])) // self.block * (2 * self.block - 1)

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model."""
        self.put(context, golden.space_to_depth(self.integers(context), self.block))

    def estimate(self, fpgapart: str) -> Resources:
        """Row buffers and control."""
        words = (self.block - 1) * self.vectors[2] * self.channels // self.block**2 // self.lanes
        bits = self.lanes * self.get_output_datatype().bitwidth()
        return resources.space_to_depth(words, bits, self.get_nodeattr("ram_style"))

    def uram_estimation(self, fpgapart: str) -> int:
        """URAM."""
        return int(self.estimate(fpgapart).uram)


class WindowCentre(_Operator):
    """The middle pixel of each window of ``Pixels`` pixels; see hw/pleinair_hw/rtl/window_centre.sv.

    ``parallel_window``: a word of the input holds a whole window, else a part of one of its pixels.
    """

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Pixels of a window, and how they come."""
        attributes = super().get_nodeattr_types()
        attributes.update({"Pixels": ("i", True, 0), "parallel_window": ("i", False, 0, {0, 1})})
        return attributes

    @property
    def pixels(self) -> int:
        """Pixels of a window."""
        return int(self.get_nodeattr("Pixels"))

    @property
    def whole(self) -> bool:
        """Whether a word holds a whole window."""
        return bool(self.get_nodeattr("parallel_window"))

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, C * pixels]."""
        return (*self.vectors, self.channels * self.pixels)

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H, W, C]."""
        return (*self.vectors, self.channels)

    def get_folded_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """A word holds PE channels of a pixel, or of all of a window's."""
        values = self.channels * self.pixels
        lanes = self.lanes * (self.pixels if self.whole else 1)
        return (*self.vectors, values // lanes, lanes)

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model."""
        self.put(context, golden.window_centre(self.integers(context), self.pixels))

    def estimate(self, fpgapart: str) -> Resources:
        """A counter and the queue."""
        return resources.window_centre(self.get_outstream_width())


class TrimBorder(_Operator):
    """The frame without ``Border`` pixels on each side; see hw/pleinair_hw/rtl/trim_border.sv."""

    def get_nodeattr_types(self) -> dict[str, Any]:
        """The border."""
        attributes = super().get_nodeattr_types()
        attributes["Border"] = ("i", True, 0)
        return attributes

    @property
    def border(self) -> int:
        """Pixels on each side."""
        return int(self.get_nodeattr("Border"))

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """[1, H - 2 border, W - 2 border, C]."""
        one, height, width = self.vectors
        return (one, height - 2 * self.border, width - 2 * self.border, self.channels)

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model."""
        self.put(context, golden.trim_border(self.integers(context), self.border))

    def estimate(self, fpgapart: str) -> Resources:
        """Counters and the queue."""
        words = self.channels // self.lanes
        return resources.trim_border(words, self.vectors[1], self.vectors[2], self.get_outstream_width())


class _Rtl(RTLBackend):  # type: ignore[misc]
    """A Verilog wrapper with FINN's port names around one of our blocks.

    Comes after the operator among the bases, so that the operator's Python runs and not the vendor's simulator.
    ``BLOCK`` is the module and file name. Vivado's block designs take Verilog wrappers, not SystemVerilog ones.
    """

    BLOCK: ClassVar[str] = ""
    #: The blocks that it is made of besides the queue.
    PARTS: ClassVar[tuple[str, ...]] = ()

    def ports(self) -> list[str]:
        """Ports besides clock, reset and streams, as Verilog declares them."""
        return []

    def parameters(self, model: Any) -> dict[str, str | int]:
        """The block's parameters by name."""
        raise NotImplementedError

    def connections(self) -> list[str]:
        """The block's port connections besides clock and reset."""
        streams = self.get_verilog_top_module_intf_names()
        names = [name for name, _ in (*streams["s_axis"], *streams["m_axis"])]
        return [f".{name}_{field}({name}_{field})" for name in names for field in ("TDATA", "TVALID", "TREADY")]

    def declarations(self) -> list[str]:
        """Verilog before the block."""
        return []

    def generate_hdl(self, model: Any, fpgapart: str, clk: float) -> None:
        """Write the wrapper into the node's folder."""
        folder = Path(self.get_nodeattr("code_gen_dir_ipgen") or make_build_dir(f"code_gen_{self.onnx_node.name}_"))
        name = self.get_verilog_top_module_name()
        streams = self.get_verilog_top_module_intf_names()
        interfaces = ":".join(n for n, _ in (*streams["s_axis"], *streams["m_axis"]))
        clock = (
            f'(* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF {interfaces}, ASSOCIATED_RESET ap_rst_n" *)\n'
            '\t(* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 ap_clk CLK" *)\n\tinput ap_clk'
        )
        ports = [clock, '(* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)\n\tinput ap_rst_n']
        for kind, into, out in (("s_axis", "input", "output"), ("m_axis", "output", "input")):
            for port, width in streams[kind]:
                ports += [f"{into} [{width - 1}:0] {port}_TDATA", f"{into} {port}_TVALID", f"{out} {port}_TREADY"]
        ports += self.ports()
        values = ",\n".join(f"\t\t.{key}({value})" for key, value in self.parameters(model).items())
        wires = [".ap_clk(ap_clk)", ".ap_rst_n(ap_rst_n)", *self.connections()]
        before = "".join(f"\t{line}\n" for line in self.declarations())
        text = (
            f"module {name}(\n\t" + ",\n\t".join(ports) + f"\n);\n{before}"
            f"\t{self.BLOCK} #(\n{values}\n\t) block (\n\t\t" + ",\n\t\t".join(wires) + "\n\t);\nendmodule\n"
        )
        (folder / f"{name}.v").write_text(text)
        self.set_nodeattr("gen_top_module", name)
        for attribute in ("code_gen_dir_ipgen", "ipgen_path", "ip_path"):
            self.set_nodeattr(attribute, str(folder))

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """The block with its parts, and the wrapper."""
        wrapper = f"{self.get_nodeattr('gen_top_module')}.v"
        sources = [f"{name}.sv" for name in (QUEUE, *self.PARTS, self.BLOCK)]
        if not abspath:
            return [*sources, wrapper]
        return [*(str(RTL / name) for name in sources), str(Path(self.get_nodeattr("code_gen_dir_ipgen")) / wrapper)]

    def code_generation_ipi(self) -> list[str]:
        """Tcl for Vivado's block design."""
        top, name = self.get_nodeattr("gen_top_module"), self.onnx_node.name
        files = [f"add_files -norecurse {file}" for file in self.get_rtl_file_list(abspath=True)]
        return [*files, f"create_bd_cell -type module -reference {top} {name}"]


def _literal(values: list[int], width: int) -> str:
    """A packed constant, element 0 lowest, as a Verilog number."""
    packed = 0
    for number, value in enumerate(values):
        packed |= (value & ((1 << width) - 1)) << (number * width)
    return f"{width * len(values)}'h{packed:x}"


def requant_parameters(bias: np.ndarray, shift: np.ndarray) -> dict[str, str | int]:
    """BW, SW, SMIN and PARAMS of requant_shift.sv: a lane holds ``{shift - SMIN, bias + half}``.

    ``bias``, ``shift``: int64 [C].
    """
    sums = [int(v) for v in rounding_offset(bias, shift)]
    least = int(shift.min())
    bias_bits = max(signed_bits(min(sums), max(sums)), 2)
    shift_bits = max(int(shift.max() - least).bit_length(), 1)
    mask = (1 << bias_bits) - 1
    lanes = [(int(s) - least) << bias_bits | (b & mask) for s, b in zip(shift, sums, strict=True)]
    return {"BW": bias_bits, "SW": shift_bits, "SMIN": least, "PARAMS": _literal(lanes, bias_bits + shift_bits)}


class RequantShift_rtl(RequantShift, _Rtl):
    """requant_shift.sv."""

    BLOCK = "requant_shift"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Widths, and bias and shift of every channel."""
        bias, shift = (model.get_initializer(name).astype(np.int64) for name in self.onnx_node.input[1:])
        i, o = self.get_input_datatype(), self.get_output_datatype()
        return {
            "PE": self.lanes,
            "CF": self.channels // self.lanes,
            "IW": i.bitwidth(),
            "OW": o.bitwidth(),
            "IN_SIGNED": int(i.signed()),
            "OUT_SIGNED": int(o.signed()),
            **requant_parameters(bias, shift),
        }


def light_parameters(
    bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, bias_bits: int, longest: int
) -> dict[str, str | int]:
    """BW, SW, SMAX and PARAMS of requant_light.sv: a lane holds ``{shift, multiplier, bias}``.

    ``bias``, ``multiplier``, ``shift``: int64 [C], the light at first. ``bias_bits``, ``longest``: of any light.
    """
    shift_bits, mask = max(longest.bit_length(), 1), (1 << bias_bits) - 1
    numbers = zip(bias.tolist(), multiplier.tolist(), shift.tolist(), strict=True)
    lanes = [(s << 5 | m) << bias_bits | (b & mask) for b, m, s in numbers]
    packed = _literal(lanes, bias_bits + 5 + shift_bits)
    return {"BW": bias_bits, "SW": shift_bits, "SMAX": longest, "PARAMS": packed}


class RequantLight_rtl(RequantLight, _Rtl):
    """requant_light.sv."""

    BLOCK = "requant_light"
    PARTS = ("light_meter", "light_station")

    def ports(self) -> list[str]:
        """From and to the decoder of the light's port."""
        return [f"input [{REQUEST_BITS - 1}:0] light_request", f"output [{ANSWER_BITS - 1}:0] light_answer"]

    def connections(self) -> list[str]:
        """The streams, and the decoder's."""
        return [*super().connections(), ".light_request(light_request)", ".light_answer(light_answer)"]

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Widths, the frame, and the light that is held at first."""
        bias, multiplier, shift = (model.get_initializer(name).astype(np.int64) for name in self.onnx_node.input[1:])
        o = self.get_output_datatype()
        bias_bits, longest = int(self.get_nodeattr("BiasBits")), int(self.get_nodeattr("Longest"))
        return {
            "PE": self.lanes,
            "CF": self.channels // self.lanes,
            "IW": self.get_input_datatype().bitwidth(),
            "OW": o.bitwidth(),
            "OUT_SIGNED": int(o.signed()),
            "HEIGHT": self.vectors[1],
            "WIDTH": self.vectors[2],
            "METER": int(self.get_nodeattr("Meter")),
            **light_parameters(bias, multiplier, shift, bias_bits, longest),
        }


class AddClamp_rtl(AddClamp, _Rtl):
    """add_clamp.sv."""

    BLOCK = "add_clamp"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Lanes, widths and signs."""
        a, b, o = self.get_input_datatype(0), self.get_input_datatype(1), self.get_output_datatype()
        return {
            "PE": self.lanes,
            "AW": a.bitwidth(),
            "BW": b.bitwidth(),
            "OW": o.bitwidth(),
            "A_SIGNED": int(a.signed()),
            "B_SIGNED": int(b.signed()),
            "OUT_SIGNED": int(o.signed()),
        }


class TapSum_rtl(TapSum, _Rtl):
    """tap_sum.sv."""

    BLOCK = "tap_sum"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Taps, lanes, widths and row length."""
        return {
            "K": self.taps,
            "PE": self.lanes,
            "CF": self.channels // self.lanes,
            "IW": self.get_input_datatype().bitwidth(),
            "OW": self.get_output_datatype().bitwidth(),
            "COLUMNS": self.vectors[2],
            "LEAD": self.lead,
        }


class PixelShuffle_rtl(PixelShuffle, _Rtl):
    """pixel_shuffle.sv."""

    BLOCK = "pixel_shuffle"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Word width, words a pixel, low resolution, memory style."""
        return {
            "W": self.get_outstream_width(),
            "CF": self.channels // self.lanes,
            "HI": self.vectors[1] - self.border,
            "WI": self.vectors[2] - self.border,
            "BORDER": self.border,
            "RAM_STYLE": f'"{self.get_nodeattr("ram_style")}"',
        }


class SpaceToDepth_rtl(SpaceToDepth, _Rtl):
    """space_to_depth.sv."""

    BLOCK = "space_to_depth"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Word width, words a pixel, the block's side, blocks a row, memory style."""
        return {
            "W": self.get_outstream_width(),
            "CF": self.channels // self.block**2 // self.lanes,
            "B": self.block,
            "WO": self.vectors[2] // self.block,
            "RAM_STYLE": f'"{self.get_nodeattr("ram_style")}"',
        }


class WindowCentre_rtl(WindowCentre, _Rtl):
    """window_centre.sv."""

    BLOCK = "window_centre"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Widths, and which words of a window go on."""
        width, words = self.get_outstream_width(), self.channels // self.lanes
        middle = self.pixels // 2
        return {
            "IW": self.get_instream_width(),
            "W": width,
            "OFFSET": middle * width if self.whole else 0,
            "WORDS": 1 if self.whole else self.pixels * words,
            "FIRST": 0 if self.whole else middle * words,
            "COUNT": words,
        }


class TrimBorder_rtl(TrimBorder, _Rtl):
    """trim_border.sv."""

    BLOCK = "trim_border"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Word width, words a pixel, the frame that comes in, its border."""
        return {
            "W": self.get_outstream_width(),
            "CF": self.channels // self.lanes,
            "ROWS": self.vectors[1],
            "COLUMNS": self.vectors[2],
            "BORDER": self.border,
        }


class DuplicateStreams_rtl(DuplicateStreams, _Rtl):  # type: ignore[misc]
    """stream_fork.sv."""

    BLOCK = "stream_fork"

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Word width and number of copies."""
        return {"W": self.get_instream_width_padded(0), "OUTPUTS": len(self.onnx_node.output)}

    def connections(self) -> list[str]:
        """The block has its handshakes side by side and one data port for all outputs."""
        count = range(len(self.onnx_node.output))
        valid, ready = (", ".join(f"out{i}_V_{f}" for i in reversed(count)) for f in ("TVALID", "TREADY"))
        wires = [f".in_{field.lower()}(in0_V_{field})" for field in ("TDATA", "TVALID", "TREADY")]
        return [*wires, ".out_tdata(data)", f".out_tvalid({{{valid}}})", f".out_tready({{{ready}}})"]

    def declarations(self) -> list[str]:
        """Every output carries the same word."""
        width = self.get_instream_width_padded(0)
        wires = [f"assign out{i}_V_TDATA = data;" for i in range(len(self.onnx_node.output))]
        return [f"wire [{width - 1}:0] data;", *wires]

    def lut_estimation(self, fpgapart: str) -> int:
        """Registers' enables and handshakes."""
        return int(resources.fork(self.get_instream_width_padded(0), len(self.onnx_node.output)).lut)


class UpsampleNearestNeighbour_rtl(UpsampleNearestNeighbour, _Rtl):  # type: ignore[misc]
    """upsample.sv."""

    BLOCK = "upsample"

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Both bases' attributes, and where the row buffer lives."""
        attributes: dict[str, Any] = super().get_nodeattr_types()
        attributes["ram_style"] = ("s", False, "auto", {"auto", "block", "distributed", "ultra"})
        return attributes

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Golden model; FINN's own runs in ONNX Runtime."""
        x = context[self.onnx_node.input[0]]
        context[self.onnx_node.output[0]] = golden.upsample(x[0])[None].astype(x.dtype)

    def parameters(self, model: Any) -> dict[str, str | int]:
        """Word width, words a pixel and a row's pixels."""
        words = self.get_nodeattr("NumChannels") // self.get_nodeattr("SIMD")
        style = f'"{self.get_nodeattr("ram_style")}"'
        return {
            "W": self.get_instream_width_padded(0),
            "WI": self.get_nodeattr("WI"),
            "CF": words,
            "RAM_STYLE": style,
        }

    def estimate(self, fpgapart: str) -> Resources:
        """Row buffers and control."""
        words = self.get_nodeattr("WI") * self.get_nodeattr("NumChannels") // self.get_nodeattr("SIMD")
        return resources.upsample(words, self.get_instream_width_padded(0))

    def lut_estimation(self, fpgapart: str) -> int:
        """LUTs, those used as memory included."""
        e = self.estimate(fpgapart)
        return int(e.lut + e.lutram)

    def bram_estimation(self, fpgapart: str) -> int:
        """BRAM18."""
        return int(self.estimate(fpgapart).bram18)


def _exact_product(self: Any, context: dict[str, np.ndarray], graph: Any) -> None:
    """MVAU without activation in float64: exact to 2^53, where FINN's float32 ends at 2^24."""
    x, weights = self.onnx_node.input[:2]
    out = self.onnx_node.output[0]
    result = context[x].astype(np.float64) @ context[weights].astype(np.float64)
    context[out] = result.reshape(self.get_normal_output_shape())


def _exact_words(self: Any, context: dict[str, np.ndarray], graph: Any) -> None:
    """A width converter passes its values on, whatever type they stand in; FINN's insists on float32."""
    out = self.onnx_node.output[0]
    context[out] = context[self.onnx_node.input[0]].reshape(self.get_normal_output_shape())


def register() -> None:
    """Put the operators into FINN's domains; again and again does no harm."""
    for operator in (
        RequantShift,
        RequantLight,
        AddClamp,
        TapSum,
        PixelShuffle,
        SpaceToDepth,
        WindowCentre,
        TrimBorder,
    ):
        finn_operators.custom_op[operator.__name__] = operator
        add_op_to_domain(DOMAIN, operator)
    for operator in (
        RequantShift_rtl,
        RequantLight_rtl,
        AddClamp_rtl,
        TapSum_rtl,
        PixelShuffle_rtl,
        SpaceToDepth_rtl,
        WindowCentre_rtl,
        TrimBorder_rtl,
        DuplicateStreams_rtl,
        UpsampleNearestNeighbour_rtl,
    ):
        finn_rtl_operators.custom_op[operator.__name__] = operator
        add_op_to_domain(f"{DOMAIN}.rtl", operator)
    MVAU.execute_node = _exact_product
    StreamingDataWidthConverter.execute_node = _exact_words


register()
