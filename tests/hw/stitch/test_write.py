"""FINN's nodes as one module: the widths that are checked, and what the folder holds."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.manifest import MANIFEST, Manifest
from pleinair_hw.stitch.write import write_rtl

needs_finn = pytest.mark.skipif(find_spec("finn") is None, reason="finn-plus is not installed")
PART = "xc7z020clg400-1"


@dataclasses.dataclass(frozen=True)
class Chain:
    """A graph of FINN's own nodes and what it computes."""

    model: object
    weight: np.ndarray
    pad: int

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """int64 [n, H, W, O] of [n, H, W, C]."""
        p, (_, rows, columns, _) = self.pad, frames.shape
        x = np.pad(frames.astype(np.int64), ((0, 0), (p, p), (p, p), (0, 0)))
        reach = range(2 * p + 1)
        return np.concatenate([x[:, i : i + rows, j : j + columns] for i in reach for j in reach], -1) @ self.weight


class _Nodes:
    """Nodes of FINN's, one behind the other."""

    def __init__(self, shape: list[int], datatype: str) -> None:
        from onnx import helper

        self.helper, self.nodes, self.at = helper, [], "in"
        self.tensors = {"in": (shape, datatype)}

    def add(self, kind: str, shape: list[int], datatype: str, *constants: str, **attributes: object) -> None:
        """A node that reads what the last one made, and gives a frame of that shape."""
        number = len(self.nodes)
        self.nodes.append(
            self.helper.make_node(
                kind,
                [self.at, *constants],
                [f"t{number}"],
                name=f"{kind}_{number}",
                domain="finn.custom_op.fpgadataflow.rtl",
                backend="fpgadataflow",
                **attributes,
            )
        )
        self.at = f"t{number}"
        self.tensors[self.at] = shape, datatype

    def fifo(self, depth: int | None, lanes: int) -> None:
        """A FIFO, unless its depth is None."""
        if depth is None:
            return
        shape, datatype = self.tensors[self.at]
        self.add(
            "StreamingFIFO_rtl",
            shape,
            datatype,
            depth=depth,
            folded_shape=[*shape[:-1], shape[-1] // lanes, lanes],
            normal_shape=shape,
            dataType=datatype,
            ram_style="auto",
        )

    def window(self, kernel: int, simd: int, depth: int | None) -> None:
        """Padding that keeps the frame's size, a FIFO of that depth, and the sliding window; uint8."""
        _, height, width, channels = self.tensors[self.at][0]
        pad = kernel // 2
        padded = [height + 2 * pad, width + 2 * pad]
        self.add(
            "FMPadding_rtl",
            [1, *padded, channels],
            "UINT8",
            ImgDim=[height, width],
            Padding=[pad] * 4,
            NumChannels=channels,
            inputDataType="UINT8",
            SIMD=simd,
        )
        self.fifo(depth, simd)
        self.add(
            "ConvolutionInputGenerator_rtl",
            [1, height, width, kernel * kernel * channels],
            "UINT8",
            ConvKernelDim=[kernel, kernel],
            IFMChannels=channels,
            IFMDim=padded,
            OFMDim=[height, width],
            SIMD=simd,
            Stride=[1, 1],
            Dilation=[1, 1],
            inputDataType="UINT8",
            outputDataType="UINT8",
            depthwise=0,
        )

    def product(self, weight: np.ndarray, bits: int, simd: int, pe: int) -> None:
        """A matrix product of uint8 by int8 with sums of that many bits."""
        _, height, width, elements = self.tensors[self.at][0]
        sums = f"INT{bits}"
        self.add(
            "MVAU_rtl",
            [1, height, width, weight.shape[1]],
            sums,
            "weight",
            MW=elements,
            MH=weight.shape[1],
            SIMD=simd,
            PE=pe,
            inputDataType="UINT8",
            weightDataType="INT8",
            accDataType=sums,
            outputDataType=sums,
            noActivation=1,
            ActVal=0,
            numInputVectors=[1, height, width],
            mem_mode="internal_decoupled",
        )

    def model(self, weight: np.ndarray) -> object:
        """The graph as a qonnx model."""
        from onnx import TensorProto
        from qonnx.core.datatype import DataType
        from qonnx.core.modelwrapper import ModelWrapper

        def info(name: str) -> object:
            return self.helper.make_tensor_value_info(name, TensorProto.FLOAT, self.tensors[name][0])

        inner = [info(name) for name in self.tensors if name not in ("in", self.at)]
        graph = self.helper.make_graph(self.nodes, "chain", [info("in")], [info(self.at)], value_info=inner)
        model = ModelWrapper(self.helper.make_model(graph))
        model.set_initializer("weight", weight.astype(np.float32))
        model.set_tensor_datatype("weight", DataType["INT8"])
        for name, (_, datatype) in self.tensors.items():
            model.set_tensor_datatype(name, DataType[datatype])
        return model


def chain(
    folder: Path,
    *,
    size: tuple[int, int] = (5, 4),
    channels: int = 4,
    outputs: int = 6,
    kernel: int = 3,
    simd: int = 2,
    pe: int = 3,
    lanes: int = 2,
    depths: tuple[int, int, int, int] | None = (2, 40, 4, 2),
    seed: int = 0,
) -> Chain:
    """A convolution of uint8 by int8 without requantisation: padding, window, product, width converter, FIFOs between.

    Without ``depths`` there are no FIFOs; with a kernel of 1 there is the product alone, and lanes are its own.
    """
    from pleinair_hw.finn import environment

    environment.prepare(folder, workers=1)
    from finn.transformation.fpgadataflow.prepare_ip import PrepareIP

    weight = np.random.default_rng(seed).integers(-127, 128, (kernel * kernel * channels, outputs))
    bits = int(np.abs(weight).sum(0).max() * 255).bit_length() + 1
    first, padded, windows, last = depths or (None,) * 4
    nodes = _Nodes([1, *size, channels], "UINT8")
    nodes.fifo(first, simd)
    if kernel > 1:
        nodes.window(kernel, simd, padded)
        nodes.fifo(windows, simd)
    nodes.product(weight, bits, simd, pe)
    if kernel > 1:
        shape, sums = nodes.tensors[nodes.at]
        nodes.add(
            "StreamingDataWidthConverter_rtl",
            shape,
            sums,
            inShape=shape,
            outShape=shape,
            inWidth=pe * bits,
            outWidth=lanes * bits,
            dataType=sums,
        )
        nodes.fifo(last, lanes)
    return Chain(nodes.model(weight).transform(PrepareIP(PART, 10.0)), weight, kernel // 2)


def copied(model: object) -> object:
    """The model again, to be changed."""
    from qonnx.core.modelwrapper import ModelWrapper

    return ModelWrapper(model.model, make_deepcopy=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("chain")


@pytest.fixture(scope="module")
def nodes(folder) -> Chain:
    return chain(folder / "finn")


@needs_finn
def test_the_folder_is_complete_and_names_no_other_place(nodes, folder):
    manifest = write_rtl(nodes.model, folder / "rtl")
    assert Manifest.read(folder / "rtl") == manifest
    assert manifest.changed_files(folder / "rtl") == []
    inside = {str(p.relative_to(folder / "rtl")) for p in (folder / "rtl").rglob("*") if p.is_file()}
    assert inside == {*manifest.files, MANIFEST} == {*manifest.sources, *manifest.data, MANIFEST}
    for name in inside:
        text = (folder / "rtl" / name).read_text()
        assert str(folder) not in text and "site-packages" not in text, name
    assert [p.read_text() for p in (folder / "finn").rglob("memblock.dat")] == [
        (folder / "rtl" / name).read_text() for name in manifest.data
    ]


@needs_finn
def test_the_manifest_tells_ports_streams_fifos_and_nodes(nodes, folder):
    manifest = write_rtl(nodes.model, folder / "rtl")
    (source,), (sink,) = manifest.inputs, manifest.outputs
    assert (source.width, source.lanes, source.bits, source.signed, source.shape) == (16, 2, 8, False, (5, 4, 4))
    assert (source.words, sink.words, sink.lanes, sink.signed, sink.shape) == (40, 60, 2, True, (5, 4, 6))
    assert [fifo.depth for fifo in manifest.fifos] == [2, 40, 4, 2]
    assert [s.words for s in manifest.streams] == [40, 40, 84, 84, 360, 360, 40, 60, 60]
    (product,) = [node for node in manifest.nodes if node.macs]
    assert (product.macs, product.lanes, product.cycles) == (5 * 4 * 36 * 6, 6, 20 * 18 * 2)
    top = (folder / "rtl" / "accelerator.sv").read_text()
    assert top.count("maxcount_") == 2 * 4 and "output [8:0] valid_0" in top


@needs_finn
def test_equal_graphs_give_equal_folders(nodes, folder):
    assert write_rtl(nodes.model, folder / "a").files == write_rtl(nodes.model, folder / "b").files


@needs_finn
def test_rtl_for_synthesis_has_no_debug_outputs(nodes, folder):
    manifest = write_rtl(nodes.model, folder / "synthesis", "synthesis")
    top = (folder / "synthesis" / "accelerator.sv").read_text()
    assert "maxcount_" not in top and "valid_0" not in top
    assert "`default_nettype" not in "".join((folder / "synthesis" / name).read_text() for name in manifest.sources)


@needs_finn
def test_rtl_for_sizing_has_a_gauge_on_every_stream_between_nodes(nodes, folder, tmp_path):
    manifest = write_rtl(nodes.model, folder / "sizing", "sizing")
    assert len(manifest.fifos) == 5  # in, padding, window, product, converter
    assert not any("StreamingFIFO" in name for name in manifest.sources)
    bare = chain(tmp_path / "finn", depths=None)
    between = write_rtl(bare.model, tmp_path / "rtl", "sizing").fifos
    assert [fifo.width for fifo in between] == [16, 16, 64]  # three sums of 21 bits, in whole bytes


@needs_finn
def test_a_width_that_does_not_fit_is_refused(nodes, folder):
    from qonnx.custom_op.registry import getCustomOp

    model = copied(nodes.model)
    for node in model.graph.node:
        if node.op_type.startswith("ConvolutionInputGenerator"):
            getCustomOp(node).set_nodeattr("SIMD", 4)
    with pytest.raises(StitchError, match="ConvolutionInputGenerator_rtl_3 reads 42 words of 32 bits where"):
        write_rtl(model, folder / "bad")
    with pytest.raises(StitchError, match="manifest.json is missing"):
        Manifest.read(folder / "bad")


@needs_finn
def test_generated_verilog_of_another_width_than_finn_says_is_refused(nodes, folder):
    from qonnx.custom_op.registry import getCustomOp

    model = copied(nodes.model)
    for node in model.graph.node:  # all agree with each other, and the Verilog was generated for two lanes
        operator = getCustomOp(node)
        if node.op_type.startswith("FMPadding"):
            operator.set_nodeattr("SIMD", 4)
        elif node.op_type.startswith("StreamingFIFO") and operator.get_nodeattr("depth") in (2, 40):
            *outer, words, lanes = operator.get_nodeattr("folded_shape")
            if lanes * words == 4:
                operator.set_nodeattr("folded_shape", [*outer, 1, 4])
    with pytest.raises(StitchError, match="TDATA is 16 bits wide, the stream that it meets 32"):
        write_rtl(model, folder / "bad")


@needs_finn
def test_nodes_that_are_not_rtl_are_refused(nodes, folder):
    model = copied(nodes.model)
    model.graph.node[1].op_type = "FMPadding_hls"
    with pytest.raises(StitchError, match="FMPadding_hls is not an operator of RTL"):
        write_rtl(model, folder / "bad")


@needs_finn
def test_a_stream_of_two_readers_is_refused(nodes, folder):
    model = copied(nodes.model)
    model.graph.node[2].input[0] = model.graph.node[1].input[0]
    with pytest.raises(StitchError, match="read by FMPadding_rtl_1 and by StreamingFIFO_rtl_2"):
        write_rtl(model, folder / "bad")


@needs_finn
def test_a_stream_that_leads_nowhere_is_refused(nodes, folder):
    model = copied(nodes.model)
    del model.graph.node[-1]
    with pytest.raises(StitchError, match="lead nowhere: StreamingDataWidthConverter_rtl_6"):
        write_rtl(model, folder / "bad")


@needs_finn
def test_weights_that_a_driver_writes_start_written(tmp_path):
    nodes = chain(tmp_path / "finn", depths=None)
    (wrapper,) = (tmp_path / "finn").rglob("*_memstream_wrapper.v")
    text = wrapper.read_text()
    file = wrapper.parent / "memblock.dat"
    assert f'INIT_FILE = "{file}"' in text
    wrapper.write_text(text.replace(str(file), ""))  # as FINN leaves it for UltraRAM
    manifest = write_rtl(nodes.model, tmp_path / "rtl")
    (data,) = manifest.data
    assert (tmp_path / "rtl" / data).read_bytes() == file.read_bytes()
    (copied,) = (tmp_path / "rtl").rglob("*_memstream_wrapper.v")
    assert f'INIT_FILE = "{Path(data).name}"' in copied.read_text()
