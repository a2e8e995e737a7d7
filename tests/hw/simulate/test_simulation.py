"""The generated accelerator in Verilator: equal to the reference, under stalls too; sized FIFOs; faults it shows."""

from __future__ import annotations

import pickle
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import ImageError
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork, Layer, Residual, Upsample, validate
from pleinair.network.reference import convolve, requantise, run_layer
from pleinair_hw.simulate import simulation
from pleinair_hw.simulate.simulation import DeadlockError, SimulationError, load, simulate, size_fifos
from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.manifest import CAPACITIES, PERIODS
from pleinair_hw.stitch.write import write_rtl
from tests.hw.stitch.test_write import PART, chain
from tests.hw.streams import needs_verilator
from tests.networks import random_convolution

pytestmark = [
    needs_verilator,
    pytest.mark.skipif(find_spec("finn") is None, reason="finn-plus is not installed"),
]
#: The C++ compiler's level: these simulations are short, and compiling takes most of their time.
QUICK = 0


def small_network(seed: int, *, width: int = 4, blocks: int = 1, bits: int = 8, kernel: int = 3) -> IntegerNetwork:
    """A stride, residual blocks and an upsampling: every kind of layer that there is, in few."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (3, 16, 16)).astype(np.int64)
    layers: list[Layer] = []
    high, ends = (1 << bits) - 1, max(8, bits)

    def add(layer: Layer) -> None:
        nonlocal x
        layers.append(layer)
        x = run_layer(x, layer, bits)

    add(random_convolution(rng, x, "enter", width, kernel, 2, ends, 255, bits))
    for number in range(blocks):
        first = random_convolution(rng, x, f"block{number}.conv1", width, 3, 1, bits, high, bits)
        middle = requantise(convolve(x, first), first)
        second = random_convolution(rng, middle, f"block{number}.conv2", width, 3, 1, bits, high, bits, True)
        add(Residual((first, second)))
    add(Upsample())
    add(random_convolution(rng, x, "leave", 3, kernel, 1, ends, high, 8))
    return validate(IntegerNetwork(bits, tuple(layers)))


@dataclass(frozen=True)
class Built:
    """A network's RTL in ``folder``/rtl and, for sizing, in ``folder``/sizing; ``frames`` to send."""

    network: IntegerNetwork
    folder: Path
    frames: np.ndarray
    slowest: int


def build(
    folder: Path, network: IntegerNetwork, size: tuple[int, int], cycles: int, seed: int, *, sizing: bool
) -> Built:
    """The network's accelerator as an estimate plans it, or with FIFOs sized by simulation."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.search import plan_for_cycles

    plan = plan_for_cycles(network, *size, find_board("zcu104"), cycles)
    frames = np.random.default_rng(seed).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    if sizing:
        makers: dict[str, str] = {}
        write_rtl(compile_plan(plan.with_fifos({}), folder / "finn", None, makers), folder / "sizing", "sizing")
        sized = size_fifos(load(folder / "sizing"), np.repeat(frames, 2, 0), optimise=QUICK)
        (folder / "sized").write_bytes(pickle.dumps(sized))
        shutil.rmtree(folder / "finn")
        plan = plan.with_fifos({makers[tensor]: depth for tensor, depth in sized.depths.items()})
    write_rtl(compile_plan(plan, folder / "finn"), folder / "rtl")
    return Built(network, folder, frames, plan.cycles)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """A network of 8 bits at 8x8 with sized FIFOs."""
    return build(tmp_path_factory.mktemp("built"), small_network(1), (8, 8), 1200, 1, sizing=True)


@pytest.mark.parametrize(("bits", "size", "cycles", "whole"), [(8, (12, 20), 2400, False), (4, (6, 8), 24, True)])
def test_centred_blocks_are_exact_under_stalls_and_lose_no_cycle(bits, size, cycles, whole, tmp_path):
    """Blocks whose FIFOs hold one row; the windows come in words, and whole."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.search import plan_for_cycles

    blocks = 1 if whole else 2
    network = small_network(bits, width=4 // (1 + whole), blocks=blocks, bits=bits)
    forms = {f"block{k}.conv1": "centred" for k in range(blocks)}
    frames = np.random.default_rng(bits).integers(0, 256, (4, *size, 3), dtype=np.uint8)
    expected = np.stack([reference.run(network, frame) for frame in frames])
    plan = plan_for_cycles(network, *size, find_board("zcu104"), cycles, forms=forms)
    assert [s.parallel_window for s in plan.stages if s.kind == "WindowCentre"] == [whole] * blocks
    write_rtl(compile_plan(plan, tmp_path / "finn"), tmp_path / "rtl")
    result = simulate(tmp_path / "rtl", frames, optimise=QUICK)
    assert np.array_equal(result.frames, expected)
    assert whole or result.interval <= 1.08 * plan.cycles
    stalled = simulate(tmp_path / "rtl", frames, stall_in=30, stall_out=60, seed=bits, optimise=QUICK)
    assert np.array_equal(stalled.frames, expected)


# --- FINN's own nodes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def convolution(tmp_path_factory):
    """A convolution's nodes, their RTL moved away from where it was made."""
    folder = tmp_path_factory.mktemp("chain")
    nodes = chain(folder / "finn")
    write_rtl(nodes.model, folder / "rtl")
    shutil.move(folder / "rtl", folder / "elsewhere")
    shutil.rmtree(folder / "finn")
    return nodes, folder / "elsewhere"


@pytest.mark.parametrize(("stall_in", "stall_out"), [(0, 0), (30, 70), (70, 30)])
def test_a_convolution_is_exact_under_stalls(convolution, stall_in, stall_out):
    nodes, folder = convolution
    frames = np.random.default_rng(stall_in).integers(0, 256, (3, 5, 4, 4), dtype=np.uint8)
    result = simulate(folder, frames, stall_in=stall_in, stall_out=stall_out, seed=stall_out, optimise=QUICK)
    assert np.array_equal(result.frames, nodes(frames))
    assert max(result.occupancies.values()) <= 41


def test_figures_of_a_convolution(convolution):
    _, folder = convolution
    frames = np.zeros((4, 5, 4, 4), np.uint8)
    result = simulate(folder, frames, optimise=QUICK)
    assert result.interval == 720 and result.utilisation == 1  # MW / SIMD * MH / PE * pixels, nothing waits
    assert result.latency > 720 and result.cycles == result.latency + 3 * 720
    assert result.busy()["MVAU_rtl_5"] == 1
    assert simulate(folder, frames[:1], optimise=QUICK).interval is None


def test_a_product_in_one_fold_loses_words_unless_its_queue_is_corrected(tmp_path):
    """Nine inputs at once, a result a cycle, and a consumer that stops."""
    nodes = chain(tmp_path / "finn", size=(6, 6), channels=9, outputs=4, kernel=1, simd=9, pe=4)
    manifest = write_rtl(nodes.model, tmp_path / "rtl")
    frames = np.random.default_rng(2).integers(0, 256, (4, 6, 6, 9), dtype=np.uint8)
    stalls = {"stall_out": 70, "seed": 3, "optimise": QUICK}
    assert np.array_equal(simulate(tmp_path / "rtl", frames, **stalls).frames, nodes(frames))
    (unit,) = [tmp_path / "rtl" / name for name in manifest.sources if name.endswith("/mvu_vvu_axi.sv")]
    text = unit.read_text()
    unit.write_text(text.replace("CORE_PIPELINE_DEPTH + 3;", "CORE_PIPELINE_DEPTH;"))
    assert unit.read_text() != text
    with pytest.raises(SimulationError, match="Overflowing output queue"):
        simulate(load(tmp_path / "rtl", accept_changes=True), frames, **stalls)


@pytest.mark.parametrize(("lanes_in", "lanes_out"), [(4, 3), (2, 8)])
def test_a_width_converter_takes_the_cycles_that_are_expected(tmp_path, lanes_in, lanes_out):
    """FINN has no estimate of its own for it."""
    from pleinair_hw.finn import environment

    environment.prepare(tmp_path / "finn", workers=1)
    from finn.transformation.fpgadataflow.prepare_ip import PrepareIP
    from onnx import TensorProto, helper
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper

    shape = [1, 4, 3, 24]
    node = helper.make_node(
        "StreamingDataWidthConverter_rtl",
        ["x"],
        ["y"],
        name=f"width_{lanes_in}_{lanes_out}",
        inShape=shape,
        domain="finn.custom_op.fpgadataflow.rtl",
        backend="fpgadataflow",
        outShape=shape,
        inWidth=8 * lanes_in,
        outWidth=8 * lanes_out,
        dataType="UINT8",
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    model = ModelWrapper(helper.make_model(helper.make_graph([node], "width", ends[:1], ends[1:])))
    for name in "xy":
        model.set_tensor_datatype(name, DataType["UINT8"])
    manifest = write_rtl(model.transform(PrepareIP(PART, 10.0)), tmp_path / "rtl")
    frames = np.random.default_rng(0).integers(0, 256, (4, *shape[1:]), dtype=np.uint8)
    result = simulate(tmp_path / "rtl", frames, optimise=QUICK)
    assert np.array_equal(result.frames, frames)
    assert result.interval == manifest.nodes[0].cycles


# --- Whole networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stall_in", "stall_out"), [(0, 0), (40, 0), (20, 60)])
def test_a_network_equals_the_reference(built, stall_in, stall_out):
    said: list[str] = []
    result = simulate(
        built.folder,
        built.frames,
        stall_in=stall_in,
        stall_out=stall_out,
        seed=9,
        optimise=QUICK,
        progress=lambda step, share: said.append(f"{step} {share:.0%}"),
    )
    assert simulation.compare(result, built.network, built.frames) == 0
    assert len(np.unique(result.frames)) > 50  # or equality would say little
    assert said[0] == "compile 0%" and said[-1] == "simulate 100%"


def test_sized_fifos_keep_the_pace(built):
    sized = pickle.loads((built.folder / "sized").read_bytes())
    assert sized.interval <= 1.01 * sized.best
    result = simulate(built.folder, np.repeat(built.frames, 2, 0), optimise=QUICK)
    assert result.interval <= 1.03 * built.slowest
    assert 0 < result.utilisation <= 1
    depths = [fifo.depth for fifo in load(built.folder).manifest.fifos]
    assert sorted(depths) == sorted(sized.depths.values())
    assert len(depths) < len(sized.occupancies) // 2  # most streams need none


def test_a_skip_fifo_one_word_short_is_a_deadlock(built):
    """With the least capacity that flows found by trial, and no other FIFO at all."""
    accelerator = load(built.folder / "sizing")
    names = [fifo.name for fifo in accelerator.manifest.fifos]
    streams = {stream.consumer: stream for stream in accelerator.manifest.streams}
    (skip,) = [k for k, name in enumerate(names) if streams[name].tensor.endswith("_fork_1")]
    files = [built.folder / CAPACITIES, built.folder / PERIODS]
    files[1].write_text("0\n")
    simulator = accelerator.compile(data_files=files, optimise=QUICK)
    words = simulation._to_words(built.frames, accelerator.manifest.inputs[0])

    def run(depth: int) -> simulation.SimulationResult:
        files[0].write_text("".join(f"{depth if k == skip else 0:x}\n" for k in range(len(names))))
        return simulation._run(accelerator, simulator, words, len(built.frames), 20, 20, seed=depth)

    low, high = 1, 1024  # low stops, high flows
    while high - low > 1:
        middle = (low + high) // 2
        try:
            run(middle)
            high = middle
        except DeadlockError as error:
            low, message = middle, str(error)
    assert 8 < high < 1024
    assert "_fork_1 is stuck" in message and "block0_conv2_add does not take the word" in message
    assert "while it waits for" in message


# --- Faults ----------------------------------------------------------------------------------------------------------


def test_changed_files_are_refused_unless_accepted(built, tmp_path):
    folder = tmp_path / "rtl"
    shutil.copytree(built.folder / "rtl", folder)
    (file,) = folder.rglob("enter_product*.dat")
    file.write_text(file.read_text() + "\n")
    with pytest.raises(SimulationError, match="1 files are not as they were written in .*memblock.dat"):
        load(folder)
    load(folder, accept_changes=True)
    file.unlink()
    with pytest.raises(SimulationError, match="are missing from"):
        load(folder, accept_changes=True)


def test_one_flipped_bit_of_a_weight_shows(built, tmp_path):
    folder = tmp_path / "rtl"
    shutil.copytree(built.folder / "rtl", folder)
    (file,) = folder.rglob("block0_conv1_product*.dat")
    lines = file.read_text().splitlines()
    lines[0] = f"{int(lines[0], 16) ^ 0x20:0{len(lines[0])}x}"
    file.write_text("\n".join(lines) + "\n")
    result = simulate(load(folder, accept_changes=True), built.frames, optimise=QUICK)
    assert result.cached  # weights are data: nothing was compiled for it
    assert simulation.compare(result, built.network, built.frames) > 0


def test_one_flipped_bit_of_a_bias_or_shift_shows(built, tmp_path):
    shutil.copytree(built.folder / "rtl", tmp_path / "rtl")
    wrapper = tmp_path / "rtl" / "sources" / "leave_requantise.v"
    found = re.search(r"\.PARAMS\(\d+'h([0-9a-f]+)\)", wrapper.read_text())
    assert found is not None
    digits = found[1]
    flipped = f"{int(digits, 16) ^ 1 << 4 * len(digits) - 9:0{len(digits)}x}"
    wrapper.write_text(wrapper.read_text().replace(digits, flipped))
    result = simulate(load(tmp_path / "rtl", accept_changes=True), built.frames, optimise=QUICK)
    assert simulation.compare(result, built.network, built.frames) > 0


def test_a_fifo_too_small_is_a_deadlock_that_names_it(built, tmp_path):
    shutil.copytree(built.folder / "rtl", tmp_path / "rtl")
    (wrapper,) = (tmp_path / "rtl" / "sources").glob("*fork*fifo*.v")
    text = wrapper.read_text()
    wrapper.write_text(re.sub(r"\.DEPTH\(\d+\)", ".DEPTH(5)", text))
    assert wrapper.read_text() != text
    with pytest.raises(DeadlockError, match=f"FIFO {wrapper.stem} of .* is full"):
        simulate(load(tmp_path / "rtl", accept_changes=True), built.frames, optimise=QUICK)


def test_frames_of_another_shape_are_refused(built):
    for frames in (built.frames[:, :7], built.frames[0], built.frames[:0]):
        with pytest.raises(ImageError, match="the accelerator takes one or more of 8 rows, 8 columns and 3 channels"):
            simulate(built.folder, frames)


def test_sizing_needs_rtl_for_it_and_frames_enough(built):
    with pytest.raises(SimulationError, match="not for simulation"):
        simulate(built.folder / "sizing", built.frames)
    with pytest.raises(SimulationError, match="not for sizing"):
        size_fifos(load(built.folder), built.frames)
    with pytest.raises(SimulationError, match="2 frames are too few"):
        size_fifos(load(built.folder / "sizing"), built.frames[:2])


def test_a_folder_without_rtl(tmp_path):
    with pytest.raises(StitchError, match="holds no stitched RTL"):
        load(tmp_path)


# --- Many networks, with time ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed, tmp_path):
    rng = np.random.default_rng(seed)
    bits = (4, 8, 16)[seed % 3]
    width, blocks, kernel = int(rng.choice([4, 6, 8])), int(rng.integers(0, 3)), int(rng.choice([3, 5, 9]))
    size = (2 * int(rng.integers(3, 7)), 2 * int(rng.integers(3, 7)))
    cycles = int(size[0] * size[1] * rng.choice([8, 24, 80]))
    print(f"seed {seed}: {bits} bits, width {width}, {blocks} blocks, {kernel}x{kernel} ends, {size}, {cycles} cycles")
    network = small_network(seed, width=width, blocks=blocks, bits=bits, kernel=kernel)
    built = build(tmp_path, network, size, cycles, seed, sizing=False)
    for stalls in (0, int(rng.integers(1, 80))):
        result = simulate(built.folder, built.frames, stall_in=stalls, stall_out=stalls, seed=seed, optimise=QUICK)
        assert simulation.compare(result, network, built.frames) == 0, f"seed {seed}, stalls {stalls}"
