"""Whole designs in Verilator: a processor, memory, shell and accelerator; frames and lights through one port."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pleinair.fpga.handoff import ACCELERATOR
from pleinair.network import reference
from pleinair.network.integer import Convolution, Residual
from pleinair.network.light import in_light
from pleinair.painting import meter
from pleinair.painting.tiles import Window
from pleinair_hw.shell import board as boards
from pleinair_hw.shell.board import Board, Program, compile_board, paint
from pleinair_hw.shell.write import write_shell
from pleinair_hw.simulate.verilator import SimulationError
from pleinair_hw.stitch.manifest import Manifest
from tests.hw.streams import needs_verilator
from tests.networks import adaptive_network, random_network

pytestmark = [
    needs_verilator,
    pytest.mark.skipif(find_spec("finn") is None, reason="finn-plus is not installed"),
]


@pytest.mark.parametrize("board", ["pynq-z2", "zcu104"])
def test_pumped_products_behind_the_shells_two_clocks(board, tmp_path):
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_rate
    from pleinair_hw.stitch.write import write_rtl

    network, chosen = random_network(3, width=4, blocks=1, bits=8, kernel=3), find_board(board)
    plan = plan_for_rate(network, 16, 16, chosen, 2000, options=BuildOptions(pumped=True))
    write_rtl(compile_plan(plan, tmp_path / "finn"), tmp_path / "rtl")
    shell = write_shell(tmp_path / "rtl", tmp_path / "shell", "zynq7000" if chosen.is_zynq_7000 else "zynqmp")
    assert shell.pumped and shell.top is None
    frames = np.random.default_rng(2).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    for stalls in (0, 30):
        painted, _ = paint(compile_board(shell, optimise=0), frames, stalls=stalls, seed=stalls, max_cycles=2_000_000)
        assert np.array_equal(painted, np.stack([reference.run(network, frame) for frame in frames]))


@dataclass(frozen=True)
class Design:
    """An adaptive accelerator of the Pynq-Z2 in its shell, with frames, their lights and what must come out."""

    board: Board
    manifest: Manifest
    frames: np.ndarray
    lights: list
    expected: np.ndarray


@pytest.fixture(scope="module")
def design(tmp_path_factory) -> Design:
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.search import plan_for_cycles
    from pleinair_hw.stitch.write import write_rtl

    folder: Path = tmp_path_factory.mktemp("design")
    network = adaptive_network(3, width=2, blocks=1)
    plan = plan_for_cycles(network, 16, 24, find_board("pynq-z2"), 2500)
    write_rtl(compile_plan(plan, folder / "finn"), folder / "rtl")
    frames = np.random.default_rng(8).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    frames[1] //= 7
    lights = [meter.measure(network, frame, Window(3, 5, 13, 22)) for frame in frames]
    expected = np.stack([reference.run(in_light(network, x), y) for x, y in zip(lights, frames, strict=True)])
    board = compile_board(write_shell(folder / "rtl", folder / "shell"), optimise=0)
    return Design(board, Manifest.read(folder / "rtl"), frames, lights, expected)


def test_two_lights_through_the_processors_port(design):
    light_map = design.manifest.light_map
    assert light_map is not None and design.lights[0] != design.lights[1]
    for stalls in (0, 40):
        painted, run = paint(
            design.board,
            design.frames,
            lights=design.lights,
            light_map=light_map,
            stalls=stalls,
            seed=stalls,
            max_cycles=200_000,
        )
        assert np.array_equal(painted, design.expected)
        assert run.bursts == 2 * 2 * 1152 // 128


def test_several_frames_with_one_start(design):
    """Without a light written, all are painted in the average light, one behind the other in memory."""
    painted, _ = paint(design.board, design.frames[[0, 1, 0]], max_cycles=200_000)
    assert np.array_equal(painted[0], painted[2])
    single, _ = paint(design.board, design.frames[1:], max_cycles=200_000)
    assert np.array_equal(painted[1], single[0])


def test_a_trimmed_accelerator_writes_smaller_frames(tmp_path):
    """Two lights, one for each frame; a frame of 28x36 pixels is a painting of 12x20."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_cycles
    from pleinair_hw.stitch.write import write_rtl

    network = adaptive_network(4, width=2, blocks=0)
    plan = plan_for_cycles(network, 28, 36, find_board("pynq-z2"), 4000, options=BuildOptions(trimmed=True))
    inset = plan.dataflow.inset
    write_rtl(compile_plan(plan, tmp_path / "finn"), tmp_path / "rtl")
    frames = np.random.default_rng(9).integers(0, 256, (2, 28, 36, 3), dtype=np.uint8)
    frames[1] //= 7
    lights = [meter.measure(network, frame, Window(8, 9, 19, 25)) for frame in frames]
    expected = np.stack([reference.run(in_light(network, x), y) for x, y in zip(lights, frames, strict=True)])
    board = compile_board(write_shell(tmp_path / "rtl", tmp_path / "shell"), optimise=0)
    light_map = Manifest.read(tmp_path / "rtl").light_map
    for stalls in (0, 40):
        painted, _ = paint(
            board,
            frames,
            lights=lights,
            light_map=light_map,
            inset=inset,
            stalls=stalls,
            seed=stalls,
            max_cycles=400_000,
        )
        assert painted.shape == (2, 12, 20, 3)
        assert np.array_equal(painted, expected[:, inset : 28 - inset, inset : 36 - inset])


def test_an_error_on_the_bus_is_told_and_ends_the_engine(design):
    program, board = Program(), design.board
    first, last = board.address("idma0"), board.address("odma0")
    program.fail_burst(4, 2)
    for engine, address in ((last, boards.MEMORY + 4096), (first, boards.MEMORY)):
        program.write(engine + boards.ADDRESS_LOW, address)
        program.write(engine + boards.FRAME_COUNT, 1)
        program.write(engine + boards.CONTROL, boards.START)
    program.await_bits(first + boards.CONTROL, boards.DONE)
    told = [program.read(first + register) for register in (boards.ERROR, boards.ERROR_LOW, boards.ERROR_HIGH)]
    other = program.read(last + boards.ERROR)
    run = board.run(program, np.zeros(8192, np.uint8), max_cycles=100_000)
    assert [run.value(reply) for reply in told] == [2, boards.MEMORY + 4 * 128, 0]
    assert run.value(other) == 0
    # Where there is no memory, the bus says so itself.
    program = Program()
    program.write(first + boards.ADDRESS_LOW, 0x8000_0000)
    program.write(first + boards.FRAME_COUNT, 1)
    program.write(first + boards.CONTROL, boards.START)
    program.await_bits(first + boards.CONTROL, boards.DONE)
    told = [program.read(first + register) for register in (boards.ERROR, boards.ERROR_LOW)]
    run = board.run(program, np.zeros(8192, np.uint8), max_cycles=100_000)
    assert [run.value(reply) for reply in told] == [3, 0x8000_0000]


@pytest.mark.rtl
def test_weights_written_through_the_processors_port(tmp_path):
    """An accelerator of one network, given another's weights, paints the other's pixels."""
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_rate
    from pleinair_hw.stitch.write import write_rtl
    from pleinair_hw.vivado import make_driver

    def turned(layer):
        if isinstance(layer, Residual):
            return replace(layer, body=tuple(map(turned, layer.body)))
        if isinstance(layer, Convolution):
            return replace(layer, weight=np.ascontiguousarray(layer.weight[:, :, ::-1, ::-1]))
        return layer

    first = random_network(3, width=4, blocks=1, bits=8, kernel=3)
    second = replace(first, layers=tuple(map(turned, first.layers)))
    models = []
    for number, network in enumerate((first, second)):
        plan = plan_for_rate(network, 16, 16, find_board("zcu104"), 500, options=BuildOptions(writeable=True))
        models.append(compile_plan(plan, tmp_path / f"finn{number}"))
        manifest = write_rtl(models[number], tmp_path / f"rtl{number}")
        make_driver(models[number], manifest, 100, tmp_path / f"driver{number}")
    board = compile_board(write_shell(tmp_path / "rtl0", tmp_path / "shell", "zynqmp"), optimise=0)
    frames = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    program = Program()
    for file in sorted((tmp_path / "driver1" / "runtime_weights").iterdir()):
        port = board.address(ACCELERATOR, f"s_axilite_{file.name.split('_')[1]}")
        for number, word in enumerate(file.read_text().split()):
            program.write(port + 4 * number, int(word, 16))
    assert len(program.lines) > 1000
    washed, _ = paint(board, np.concatenate([frames, frames]), before=program, max_cycles=2_000_000)
    assert np.array_equal(washed[1], reference.run(second, frames[0]))
    painted, _ = paint(board, frames, max_cycles=2_000_000)
    assert np.array_equal(painted[0], reference.run(first, frames[0]))
    assert not np.array_equal(painted[0], washed[1])


def test_what_does_not_end_is_told(design):
    program = Program()
    program.await_bits(design.board.address("odma0"), boards.DONE)
    with pytest.raises(SimulationError, match="line 0 of the program has not ended"):
        design.board.run(program, np.zeros(64, np.uint8), max_cycles=2000)
