"""Stations of light behind their AXI-lite port: lights that change from frame to frame, metering, wrong requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import pytest

from pleinair.network.light import Sums, sums_of
from pleinair_hw.finn import golden
from pleinair_hw.simulate.script import OKAY, SLVERR, Reply, Script
from pleinair_hw.simulate.verilator import Port, Result, Simulator, build, pack, unpack
from tests.hw.streams import RTL, literal, needs_verilator

Rng = np.random.Generator
BLOCKS = ("output_queue", "light_meter", "light_station", "requant_light", "axilite_light")
HASH, ID = 0x5EED1234, 0x10
#: Words of a station's registers.
FRAMES, APPLY, STATUS, ROWS, COLUMNS, METER, METERED = range(0, 28, 4)


@dataclass(frozen=True)
class Numbers:
    """A light: int64 [C] each."""

    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray

    @property
    def words(self) -> list[tuple[int, int, int]]:
        """What stands in the table for each channel."""
        columns = (self.bias.tolist(), self.multiplier.tolist(), self.shift.tolist())
        return [(b & 0xFFFFFFFF, b >> 32 & 0xFFFFFFFF, m | s << 8) for b, m, s in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Station:
    """A station with frames and the light of each; ``at``: byte addresses of its table, sums and registers."""

    lanes: int
    factor: int
    input_bits: int
    bias_bits: int
    longest: int
    bits: int
    signed: bool
    units: int
    x: np.ndarray
    lights: tuple[Numbers, ...]
    held: Numbers
    metered: int
    window: tuple[int, int, int, int]
    at: tuple[int, int, int] = (0, 0, 0)

    @property
    def channels(self) -> int:
        return self.lanes * self.factor

    @property
    def frame_words(self) -> int:
        return prod(self.x.shape[1:3]) * self.factor

    @property
    def frames(self) -> int:
        return len(self.x)

    @cached_property
    def expected(self) -> np.ndarray:
        return np.stack(
            [
                golden.requant_light(x, n.bias, n.multiplier, n.shift, bits=self.bits, signed=self.signed)
                for x, n in zip(self.x, self.lights, strict=True)
            ]
        )

    @cached_property
    def sums(self) -> Sums:
        """What is metered: of the output in levels of 0 .. 255, whatever its own range."""
        n, (top, bottom, left, right) = self.lights[self.metered], self.window
        q = golden.requant_light(self.x[self.metered], n.bias, n.multiplier, n.shift, bits=8, signed=False)
        return sums_of(q[top:bottom, left:right].transpose(2, 0, 1))

    @property
    def parameters(self) -> dict[str, int | str]:
        shift_bits = self.longest.bit_length()
        bits = shift_bits + 5 + self.bias_bits
        lanes = zip(self.held.bias.tolist(), self.held.multiplier.tolist(), self.held.shift.tolist(), strict=True)
        packed = 0
        for c, (b, m, s) in enumerate(lanes):
            packed |= ((s << 5 | m) << self.bias_bits | b % (1 << self.bias_bits)) << (c * bits)
        return {
            "PE": self.lanes,
            "CF": self.factor,
            "IW": self.input_bits,
            "BW": self.bias_bits,
            "SW": shift_bits,
            "SMAX": self.longest,
            "OW": self.bits,
            "OUT_SIGNED": int(self.signed),
            "HEIGHT": self.x.shape[1],
            "WIDTH": self.x.shape[2],
            "METER": self.units,
            "PARAMS": literal(self.channels * bits, packed),
        }

    def write(self, script: Script, numbers: Numbers) -> None:
        """Write a table; of a bias of 32 bits the upper word does not matter."""
        for c, words in enumerate(numbers.words):
            for k, word in enumerate(words):
                if k != 1 or self.bias_bits > 32:
                    script.write(self.at[0] + 16 * c + 4 * k, word)

    def read(self, script: Script) -> list[int]:
        """Read a table; numbers of the replies."""
        return [script.read(self.at[0] + 16 * c + 4 * k) for c in range(self.channels) for k in range(4)]

    def read_sums(self, script: Script) -> list[int]:
        return [script.read(self.at[1] + 16 * c + 4 * k) for c in range(self.channels) for k in range(4)]


def random_numbers(rng: Rng, channels: int, bias_bits: int, longest: int) -> Numbers:
    return Numbers(
        rng.integers(-(1 << (bias_bits - 2)), 1 << (bias_bits - 2), channels, endpoint=True),
        np.where(rng.random(channels) < 0.2, rng.choice([1, 31], channels), rng.integers(1, 32, channels)),
        np.where(
            rng.random(channels) < 0.2, rng.choice([0, longest], channels), rng.integers(0, longest + 1, channels)
        ),
    )


def random_station(
    rng: Rng,
    lanes: int,
    factor: int,
    input_bits: int,
    bits: int,
    *,
    signed: bool = False,
    units: int = 1,
    size: tuple[int, int] = (3, 4),
    frames: int = 3,
) -> Station:
    """Inputs that make ties, values beside them and extremes; the first frame is in the light that is held."""
    bias_bits, longest = min(input_bits + 2, 50), 40 if bits > 8 else 24 - bits
    channels = lanes * factor
    lights = tuple(random_numbers(rng, channels, bias_bits, longest) for _ in range(frames))
    low, high = -(1 << (input_bits - 1)), (1 << (input_bits - 1)) - 1
    images = []
    for n in lights:
        x = rng.integers(low, high, (*size, channels), endpoint=True)
        ties = ((2 * rng.integers(-300, 300, x.shape) + 1) << np.maximum(n.shift - 1, 0)) // np.where(
            rng.random(x.shape) < 0.5, 1, n.multiplier
        )
        ties += rng.integers(-1, 2, x.shape) - n.bias
        x = np.where((ties >= low) & (ties <= high) & (rng.random(x.shape) < 0.8), ties, x)
        x[0, 0], x[-1, -1] = low, high
        images.append(x)
    (top, bottom), (left, right) = (sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in size)
    window = (0, size[0], 0, size[1]) if rng.random() < 0.3 else (top, bottom, left, right)
    return Station(
        lanes,
        factor,
        input_bits,
        bias_bits,
        longest,
        bits,
        signed,
        units,
        np.stack(images),
        lights,
        lights[0],
        int(rng.integers(0, frames)),
        window,
    )


def random_stations(rng: Rng) -> list[Station]:
    """Every width that ships, signed and unsigned; lanes that are no power of two; one word and one channel a pixel."""
    stations = [
        random_station(rng, 2, 4, 22, 8),
        random_station(rng, 4, 1, 20, 8, signed=True),
        random_station(rng, 3, 5, 16, 4),
        random_station(rng, 1, 7, 17, 4, signed=True),
        random_station(rng, 2, 3, 42, 16),
        random_station(rng, 5, 1, 48, 16, signed=True),
        random_station(rng, 1, 1, 24, 8, size=(5, 3)),
        random_station(rng, 8, 2, 23, 8, units=8),
        random_station(rng, 4, 3, 30, 16, units=2),
        random_station(rng, 6, 2, 21, 8, units=0),
        random_station(rng, 3, 3, 18, 4, signed=True, units=0),
        random_station(rng, 16, 1, 25, 8, signed=True, units=4),
    ]
    for _ in range(6):
        bits = int(rng.choice([4, 8, 16]))
        lanes, factor = int(rng.integers(1, 7)), int(rng.integers(1, 10))
        size = (int(rng.integers(2, 6)), int(rng.integers(2, 6)))
        units = int(rng.choice([1, 1, 0, 2 if lanes % 2 == 0 else 1]))
        width = int(rng.integers(12, 49 if bits == 16 else 26))
        stations.append(
            random_station(rng, lanes, factor, width, bits, signed=rng.random() < 0.5, units=units, size=size)
        )
    return placed(stations)


def placed(stations: Sequence[Station]) -> list[Station]:
    """The stations with their addresses: blocks at multiples of their sizes, in an order of their own."""
    at, result = 0x20, []

    def take(size: int) -> int:
        nonlocal at
        start = -(-at // size) * size
        at = start + size
        return start

    for station in stations:
        block = 16 << (station.channels - 1).bit_length()
        sums = take(block) if station.units else 0xFFFFFFFF
        result.append(replace(station, at=(take(block), sums, take(32))))
    return result


def top_module(stations: Sequence[Station]) -> tuple[str, int]:
    """One top module with all stations behind one port, and the bits of its addresses."""
    bits = (max(registers for _, _, registers in (s.at for s in stations)) + 63).bit_length()
    ports = ["input logic ap_clk", "input logic ap_rst_n"]
    lines = [f"wire [{48 * len(stations) - 1}:0] requests;", f"wire [{34 * len(stations) - 1}:0] answers;"]
    bus = {"AWADDR": bits, "AWVALID": 1, "WDATA": 32, "WSTRB": 4, "WVALID": 1, "BREADY": 1, "ARADDR": bits}
    ports += [f"input logic [{n - 1}:0] light_{p}" for p, n in (bus | {"ARVALID": 1, "RREADY": 1}).items()]
    back = {"AWREADY": 1, "WREADY": 1, "BRESP": 2, "BVALID": 1, "ARREADY": 1, "RDATA": 32, "RRESP": 2, "RVALID": 1}
    ports += [f"output logic [{n - 1}:0] light_{p}" for p, n in back.items()]
    for k, station in enumerate(stations):
        pins = [".ap_clk", ".ap_rst_n", f".light_request(requests[{48 * k}+:48])"]
        pins.append(f".light_answer(answers[{34 * k}+:34])")
        for kind, into, out, width in (
            ("in0_V", "input", "output", station.input_bits),
            ("out0_V", "output", "input", station.bits),
        ):
            wire = f"{kind[0]}{k}"
            ports += [
                f"{into} logic [{8 * -(-station.lanes * width // 8) - 1}:0] {wire}_TDATA",
                f"{into} logic {wire}_TVALID",
                f"{out} logic {wire}_TREADY",
            ]
            pins += [f".{kind}_{signal}({wire}_{signal})" for signal in ("TDATA", "TVALID", "TREADY")]
        values = ", ".join(f".{name}({value})" for name, value in station.parameters.items())
        lines.append(f"requant_light #({values}) station{k} ({', '.join(pins)});")

    def words(numbers: Sequence[int]) -> str:
        return "{" + ", ".join(f"32'h{n:x}" for n in reversed(numbers)) + "}"

    table, sums, registers = (words([s.at[k] for s in stations]) for k in range(3))
    channel_bits = words([(s.channels - 1).bit_length() for s in stations])
    pins = [".ap_clk", ".ap_rst_n", ".requests", ".answers"]
    pins += [f".s_axilite_light_{p}(light_{p})" for p in (*bus, "ARVALID", "RREADY", *back)]
    lines.append(
        f"axilite_light #(.STATIONS({len(stations)}), .ADDRESS_BITS({bits}), .HASH(32'h{HASH:x}), .ID({ID}), "
        f".TABLES({table}), .SUMS({sums}), .REGISTERS({registers}), .CHANNEL_BITS({channel_bits})) port "
        f"({', '.join(pins)});"
    )
    text = "module stations (\n\t" + ",\n\t".join(ports) + "\n);\n\t" + "\n\t".join(lines) + "\nendmodule\n"
    return text, bits


def compile_stations(stations: Sequence[Station], folder: Path) -> Simulator:
    top = folder / "stations.sv"
    top.write_text(top_module(stations)[0])
    return build(
        "stations",
        [*(RTL / f"{block}.sv" for block in BLOCKS), top],
        [Port(f"i{k}", 8 * -(-s.lanes * s.input_bits // 8)) for k, s in enumerate(stations)],
        [Port(f"o{k}", 8 * -(-s.lanes * s.bits // 8)) for k, s in enumerate(stations)],
        bus="light",
        optimise=1,
        unique=True,
    )


def run_stations(
    stations: Sequence[Station],
    simulator: Simulator,
    script: Script | None,
    *,
    stall: tuple[int, int] = (0, 0),
    seed: int = 0,
    restart_at: int | None = None,
) -> Result:
    """Run all of them and compare every output with the golden model's."""
    result = simulator.run(
        [pack(s.x.reshape(-1, s.lanes), s.input_bits) for s in stations],
        [s.frames * s.frame_words for s in stations],
        stall_in=stall[0],
        stall_out=stall[1],
        seed=seed,
        idle_limit=20_000,
        restart_at=restart_at,
        max_cycles=2_000_000,
        script=script,
    )
    assert result.stuck is None, result.stuck
    for k, (station, words) in enumerate(zip(stations, result.outputs, strict=True)):
        got = unpack(words, station.lanes, station.bits, station.signed).reshape(station.expected.shape)
        wrong = np.argwhere(got != station.expected)
        if len(wrong):
            where = tuple(wrong[0])
            pytest.fail(
                f"station {k} ({station.lanes} lanes, {station.bits} bits): {len(wrong)} of {got.size} values differ, "
                f"the first at {where}: {got[where]}, not {station.expected[where]} (stalls {stall}, seed {seed})"
            )
    return result


def data(result: Result, lines: Sequence[int]) -> list[int]:
    """What was read; all of it was there."""
    assert all(result.replies[line].response == OKAY for line in lines)
    return [result.replies[line].data for line in lines]


def expected_sums(station: Station) -> list[int]:
    both = zip(station.sums.first, station.sums.second, strict=True)
    return [word for one, two in both for word in (one, 0, two & 0xFFFFFFFF, two >> 32)]


def expected_table(station: Station, numbers: Numbers) -> list[int]:
    """As it is read back: the bias has its sign in both words."""
    return [word for words in numbers.words for word in (*words, 0)]


@needs_verilator
def test_lights_that_change_between_frames_and_are_written_in_the_middle_of_one(tmp_path: Path) -> None:
    """Each station paints a frame in the light that it holds and two in others, and meters one of the three."""
    seed = 1
    print(f"seed {seed}")
    stations = random_stations(np.random.default_rng(seed))
    simulator = compile_stations(stations, tmp_path)
    for number, stall in enumerate([(0, 0), (30, 30), (70, 0), (0, 70)]):
        script = Script()
        for k in range(len(stations)):
            script.allow(0, k)
        identity = [script.read(ID), script.read(ID + 4)]
        begun, held, read, sums = [], [], [], []
        for s in stations:
            held.append(s.read(script))
            if s.units:
                script.write(s.at[2] + ROWS, s.window[0] | s.window[1] << 16)
                script.write(s.at[2] + COLUMNS, s.window[2] | s.window[3] << 16)
                script.write(s.at[2] + METER, s.metered)
            script.wait(4)
        for f in range(1, 3):
            for k, s in enumerate(stations):
                half = (f - 1) * s.frame_words + s.frame_words // 2
                script.allow(half, k)
                script.wait_input(half, k)
                s.write(script, s.lights[f])
                read.append((s, s.lights[f], s.read(script)))
                script.write(s.at[2] + APPLY, f)
        for k, s in enumerate(stations):
            script.allow(3 * s.frame_words, k)
            script.wait_output(3 * s.frame_words, k)
            begun += [script.read(s.at[2] + FRAMES), script.read(s.at[2] + STATUS)]
            if s.units:
                script.poll(s.at[2] + METERED, 3, 1)
                sums.append((s, s.read_sums(script)))
        result = run_stations(stations, simulator, script, stall=stall, seed=seed + number)
        assert all(reply.response == OKAY for reply in result.replies)
        assert data(result, identity) == [HASH, 1]
        assert data(result, begun) == [3, 0] * len(stations)
        for s, lines in zip(stations, held, strict=True):
            assert data(result, lines) == expected_table(s, s.held)
        for s, numbers, lines in read:
            assert data(result, lines) == expected_table(s, numbers)
        for s, lines in sums:
            assert data(result, lines) == expected_sums(s)


@needs_verilator
def test_a_reset_disarms_and_starts_counting_anew(tmp_path: Path) -> None:
    """A reset in the middle of frames, metering and writes; then frame 0 is in a light that is written, or that held.

    Each station stands in the middle of a frame while lights are written to the others. At the last resets both banks
    of a table hold lights that are not the one held.
    """
    stations = random_stations(np.random.default_rng(5))[:6]
    simulator = compile_stations(stations, tmp_path)

    def run(restart_at: int | None, first: int) -> Result:
        script, sums = Script(), []
        for k in range(len(stations)):
            script.allow(0, k)
        for f in range(3):
            for k, s in enumerate(stations):
                if f >= first:
                    s.write(script, s.lights[f])
                    script.write(s.at[2] + APPLY, f)
                if s.metered == f and s.units:
                    script.write(s.at[2] + ROWS, s.window[0] | s.window[1] << 16)
                    script.write(s.at[2] + COLUMNS, s.window[2] | s.window[3] << 16)
                    script.write(s.at[2] + METER, f)
                script.wait(3)
                script.allow(f * s.frame_words + s.frame_words // 2, k)
                script.poll(s.at[2] + FRAMES, 0xFFFFFFFF, f + 1)
            for k, s in enumerate(stations):
                script.allow((f + 1) * s.frame_words, k)
        for s in stations:
            script.poll(s.at[2] + METERED, 3, 1)
            sums.append((s, s.read_sums(script)))
        result = run_stations(stations, simulator, script, stall=(20, 20), seed=restart_at or 0, restart_at=restart_at)
        for s, lines in sums:
            assert data(result, lines) == expected_sums(s)
        return result

    whole = run(None, 1).cycles
    for restart_at in (150, 700, whole // 2, whole + 200):
        run(restart_at, 0)
    for restart_at in (90, whole // 3, whole // 2, whole * 2 // 3, whole * 3 // 4, whole * 5 // 6, whole + 200):
        run(restart_at, 1)


@needs_verilator
def test_a_word_each_cycle_while_lights_change(tmp_path: Path) -> None:
    """Frames back to back with a light of its own for each, written while the frame before flows: no cycle is lost."""
    rng = np.random.default_rng(3)
    station = placed([random_station(rng, 2, 4, 22, 8, size=(16, 20), frames=5)])[0]
    simulator = compile_stations([station], tmp_path)
    script = Script()
    for f in range(1, 5):
        script.poll(station.at[2] + FRAMES, 0xFFFFFFFF, f)
        station.write(script, station.lights[f])
        script.write(station.at[2] + APPLY, f)
        script.read(station.at[2] + STATUS)
    result = run_stations([station], simulator, script)
    assert result.replies[-1] == Reply(OKAY, 1)
    cycles = result.output_cycles[0].astype(int)
    assert cycles[-1] - cycles[0] == 5 * station.frame_words - 1
    assert result.cycles < 5 * station.frame_words + 60


@needs_verilator
@pytest.mark.parametrize(("units", "times"), [(1, 8), (4, 2), (8, 1)])
def test_what_a_metered_frame_costs(tmp_path: Path, units: int, times: int) -> None:
    """A word of a metered frame takes as many cycles as its channels take turns, any other word one."""
    station = placed([replace(random_station(np.random.default_rng(4), 8, 4, 22, 8, units=units), metered=1)])[0]
    script = Script()
    script.allow(0)
    script.write(station.at[2] + ROWS, 3 << 16)
    script.write(station.at[2] + COLUMNS, 4 << 16)
    script.write(station.at[2] + METER, 1)
    script.wait(3)
    script.allow(3 * station.frame_words)
    script.poll(station.at[2] + METERED, 3, 1)
    lines = station.read_sums(script)
    station = replace(station, lights=(station.held,) * 3, window=(0, 3, 0, 4))
    result = run_stations([station], compile_stations([station], tmp_path), script)
    assert data(result, lines) == expected_sums(station)
    cycles = result.output_cycles[0].astype(int)[:: station.frame_words]
    assert np.diff(cycles).tolist()[0] == station.frame_words
    first, last = result.output_cycles[0].astype(int)[[station.frame_words, -1]]
    assert last - first == (1 + times) * station.frame_words - 1


@needs_verilator
def test_what_is_refused_and_what_is_too_late(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    station, plain = placed([random_station(rng, 3, 2, 22, 8), random_station(rng, 2, 2, 22, 8, units=0)])
    station = replace(station, lights=(station.held, station.lights[1], station.lights[1]))
    plain = replace(plain, lights=(plain.held,) * 3)
    table, sums, registers = station.at
    script = Script()
    script.allow(0)
    wrong = [
        script.read(0x0),
        script.read(ID + 16),
        script.write(ID, 0),
        script.write(registers + FRAMES, 1),
        script.write(registers + STATUS, 1),
        script.write(registers + METERED, 1),
        script.write(registers + 28, 0),
        script.write(sums, 1),
        script.read(table + 16 * 6),
        script.write(table + 16 * 7, 3),
        script.read(sums + 16 * 6),
        script.write(plain.at[2] + METER, 0),
        script.write(plain.at[2] + ROWS, 0),
        *(script.write(table, 5, strobes) for strobes in (1, 8, 7, 6)),
        script.write(registers + APPLY, 7, 3),
        script.read((1 << top_module([station, plain])[1]) - 16),
    ]
    reserved = [
        script.read(ID + 8),
        script.read(ID + 12),
        script.read(registers + 28),
        script.read(plain.at[2] + METER),
    ]
    nothing = script.write(table, 77, 0)
    unchanged = station.read(script)
    untouched = [script.read(registers + n) for n in (FRAMES, APPLY, STATUS)][0::2]
    # Armed: the table is kept, and a write told.
    station.write(script, station.lights[1])
    script.write(registers + APPLY, 1)
    script.write(table, 12345)
    script.write(table + 8, 0x101)
    armed = [script.read(registers + STATUS), script.read(registers + APPLY)]
    kept = station.read(script)
    script.allow(station.frame_words + 3)
    script.wait_input(station.frame_words + 3)
    applied = [script.read(registers + FRAMES), script.read(registers + STATUS)]
    # Late: frames that have begun.
    late = []
    for f in (0, 1, 0xFFFFFFF0):
        script.write(registers + APPLY, f)
        script.write(registers + METER, f)
        late += [script.read(registers + STATUS), script.read(registers + METERED)]
    # Another light for a frame that is still to come puts it right; so far away that it is never reached.
    script.write(registers + APPLY, 1000)
    script.write(registers + METER, 0x7FFFFFF0)
    right = [script.read(registers + STATUS), script.read(registers + METERED)]
    script.allow(3 * station.frame_words)
    result = run_stations([station, plain], compile_stations([station, plain], tmp_path), script)
    assert [result.replies[line].response for line in wrong] == [SLVERR] * len(wrong)
    assert result.replies[nothing].response == OKAY
    assert data(result, reserved) == [0] * 4
    assert data(result, unchanged) == expected_table(station, station.held)
    assert data(result, untouched) == [0, 0]
    assert data(result, armed) == [5, 1]
    assert data(result, kept) == expected_table(station, station.lights[1])
    assert data(result, applied) == [2, 4]
    assert data(result, late) == [2, 2] * 3
    assert data(result, right) == [1, 0]


@needs_verilator
def test_arming_beside_a_frames_first_word_is_in_time_or_told_to_be_late(tmp_path: Path) -> None:
    """A light for frame 1 is armed some cycles before or after that frame begins: it is taken whole, or told late."""
    rng = np.random.default_rng(7)
    station = placed([random_station(rng, 2, 2, 20, 8, size=(2, 3), frames=2)])[0]
    simulator = compile_stations([station], tmp_path)
    seen = set()
    for delay in range(0, 40, 1):
        script = Script()
        script.allow(0)
        station.write(script, station.lights[1])
        script.write(station.at[2] + METER, 1)
        script.allow(24)
        script.wait(delay)
        script.write(station.at[2] + APPLY, 1)
        script.wait(40)
        status = script.read(station.at[2] + STATUS)
        result = simulator.run(
            [pack(station.x.reshape(-1, 2), 20)], [24], script=script, stall_in=0 if delay < 20 else 30, seed=delay
        )
        assert result.stuck is None
        late = data(result, [status]) == [2]
        seen.add(late)
        lit = replace(station, lights=(station.held, station.held if late else station.lights[1]))
        got = unpack(result.outputs[0], 2, 8, False).reshape(lit.expected.shape)
        assert data(result, [status]) in ([0], [2])
        assert (got == lit.expected).all(), f"delay {delay}, late {late}"
    assert seen == {True, False}
