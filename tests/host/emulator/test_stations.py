"""The emulated stations of an adaptive network: registers as docs/fpga.md says, frames as the reference paints them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pleinair.emulator.fabric import BusError
from pleinair.emulator.stand_in import light_map_of
from pleinair.emulator.stations import LitPainting, Stations, walk, with_tables
from pleinair.fpga.light_port import APPLY, COLUMNS, FRAMES, METER, METERED, ROWS, STATUS, table_of
from pleinair.network import reference
from pleinair.network.integer import metering
from pleinair.network.light import in_light, light_of, sums_of
from pleinair.painting.meter import measure
from pleinair.painting.tiles import Window
from tests.networks import adaptive_network

HEIGHT, WIDTH = 32, 48


class Bench:
    """Stations, and accesses to their registers."""

    def __init__(self, bits=8, **options):
        self.network = adaptive_network(1, 4, 1, bits)
        self.map = light_map_of(self.network, HEIGHT, WIDTH)
        self.stations = Stations(self.network, self.map, **options)
        rng = np.random.default_rng(0)
        self.frames = [rng.integers(0, top, (HEIGHT, WIDTH, 3), np.uint8) for top in (256, 100, 30)]
        self.lights = [measure(self.network, frame, Window(0, 0, HEIGHT, WIDTH)) for frame in self.frames]

    def register(self, station, register):
        return self.stations.read(self.map.stations[station].registers + 4 * register)

    def set(self, station, register, value):
        self.stations.write(self.map.stations[station].registers + 4 * register, value)

    def write(self, light, frame):
        for number, layer in enumerate(light.layers):
            base = self.map.stations[number].table
            for k, word in enumerate(table_of(layer).reshape(-1).tolist()):
                self.stations.write(base + 4 * k, word)
            self.set(number, APPLY, frame)

    def held(self):
        """The tables that can be read."""
        found = []
        for station in self.map.stations:
            words = [self.stations.read(station.table + 4 * k) for k in range(4 * station.channels)]
            found.append(np.array(words, np.uint32).reshape(-1, 4))
        return found

    def painted(self, frame, light):
        return reference.run(in_light(self.network, light), frame)


@pytest.mark.parametrize("bits", (4, 8, 16))
def test_a_light_is_in_effect_from_its_frame_on(bits):
    b = Bench(bits)
    average = light_of(b.network)
    assert all((t == table_of(layer)).all() for t, layer in zip(b.held(), average.layers, strict=True))
    b.write(b.lights[0], 1)
    assert [b.register(s, STATUS) for s in range(4)] == [1] * 4
    for light in (average, b.lights[0], b.lights[0]):
        assert np.array_equal(b.stations.paint(b.frames[0]), b.painted(b.frames[0], light))
    assert [b.register(s, STATUS) for s in range(4)] == [0] * 4
    assert [b.register(s, FRAMES) for s in range(4)] == [3] * 4
    # What can be read is the bank that is not in use.
    assert all((t == table_of(layer)).all() for t, layer in zip(b.held(), average.layers, strict=True))


def test_what_is_written_while_a_frame_is_painted_changes_nothing_in_it():
    began, go_on = threading.Event(), threading.Event()

    def paint(pixels, tables):
        began.set()
        assert go_on.wait(30)
        return reference.run(with_tables(b.network, tables), pixels)

    b = Bench(paint=paint)
    b.write(b.lights[0], 0)
    painted = []
    thread = threading.Thread(target=lambda: painted.append(b.stations.paint(b.frames[0])))
    thread.start()
    assert began.wait(30)
    b.write(b.lights[1], 1)
    go_on.set()
    thread.join()
    painted.append(b.stations.paint(b.frames[1]))
    assert all(np.array_equal(p, b.painted(b.frames[k], b.lights[k])) for k, p in enumerate(painted))


def test_writes_to_an_armed_table_are_refused():
    b = Bench()
    b.write(b.lights[0], 0)
    before = b.held()
    b.stations.write(b.map.stations[2].table, 77)
    assert b.register(2, STATUS) == 5 and b.register(1, STATUS) == 1
    assert all((a == c).all() for a, c in zip(before, b.held(), strict=True))
    b.set(2, APPLY, 0)
    assert b.register(2, STATUS) == 1


def test_a_frame_that_has_begun_is_too_late():
    b = Bench()
    b.stations.paint(b.frames[0])
    b.write(b.lights[0], 0)
    assert b.register(0, STATUS) == 2
    assert np.array_equal(b.stations.paint(b.frames[0]), b.painted(b.frames[0], light_of(b.network)))
    b.set(0, METER, 1)
    assert b.register(0, METERED) == 2
    b.set(0, APPLY, 2)
    assert b.register(0, STATUS) == 1


@pytest.mark.parametrize("bits", (4, 8, 16))
def test_sums_are_those_of_the_metered_levels(bits):
    """Each station behind the others in the light of the frame, as the reference measures."""
    b = Bench(bits)
    x = b.frames[0].transpose(2, 0, 1).astype(np.int64)
    first = next(b.network.convolutions())
    window = Window(1, 2, 7, 9)
    levels = reference.run_layer(reference.space_to_depth(x, 4), metering(first), bits)
    expected = sums_of(levels[:, window.top : window.bottom, window.left : window.right])
    table = table_of(
        type(b.lights[0].layers[0])("x", *(getattr(metering(first), n) for n in ("bias", "gain", "shift")))
    )
    for k, word in enumerate(table.reshape(-1).tolist()):
        b.stations.write(b.map.stations[0].table + 4 * k, word)
    for register, value in ((APPLY, 1), (ROWS, 1 | 7 << 16), (COLUMNS, 2 | 9 << 16), (METER, 1)):
        b.set(0, register, value)
    b.stations.paint(b.frames[1])
    assert b.register(0, METERED) == 0
    b.stations.paint(b.frames[0])
    assert b.register(0, METERED) == 1
    words = [b.stations.read(b.map.stations[0].sums + 4 * k) for k in range(4 * first.outputs)]
    assert tuple(words[0::4]) == expected.first and set(words[1::4]) == {0}
    assert tuple(low | top << 32 for low, top in zip(words[2::4], words[3::4], strict=True)) == expected.second
    b.set(0, METER, 5)
    assert b.register(0, METERED) == 0


@pytest.mark.parametrize("bits", (4, 8, 16))
def test_the_walk_is_the_reference(bits):
    network = adaptive_network(3, 4, 2, bits)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    painted, seen = walk(network, image)
    assert np.array_equal(painted, reference.run(network, image))
    assert [levels.convolution.name for levels in seen] == [
        c.name for c in network.convolutions() if c.norm is not None
    ]
    assert all(levels.q.min() >= 0 and levels.q.max() <= 255 for levels in seen)


def test_any_numbers_are_painted_with():
    """Those of a valid light by an engine, others as hardware would."""
    b = Bench()
    paint = LitPainting(b.network)
    tables = [table_of(layer) for layer in b.lights[1].layers]
    assert np.array_equal(paint(b.frames[0], tables), b.painted(b.frames[0], b.lights[1]))
    tables[0] = tables[0] ^ 0x01
    tables[1][:, 1] = 0x7FFF
    assert np.array_equal(paint(b.frames[0], tables), reference.run(with_tables(b.network, tables), b.frames[0]))


def test_a_stuck_bit_is_in_what_is_read_and_in_what_is_painted():
    b = Bench()
    station = b.map.stations[0]
    b.stations.stuck[(station.table // 4) * 32 + 8] = 1
    assert b.stations.read(station.table) >> 8 & 1
    tables = [table_of(layer) for layer in light_of(b.network).layers]
    tables[0][0, 0] |= 1 << 8
    assert np.array_equal(b.stations.paint(b.frames[0]), reference.run(with_tables(b.network, tables), b.frames[0]))


def test_the_ports_own_registers_and_what_lies_between():
    b = Bench()
    assert (b.stations.read(b.map.id), b.stations.read(b.map.id + 4)) == (b.map.hash, 1)
    enter = b.map.stations[0]
    for offset in (b.map.id + 8, b.map.bytes - 16, enter.registers + 32):
        with pytest.raises(BusError, match="no register of the light at"):
            b.stations.read(offset)
    for offset in (b.map.id, enter.sums, *(enter.registers + 4 * word for word in (FRAMES, STATUS, METERED, 7))):
        with pytest.raises(BusError, match="can be written at"):
            b.stations.write(offset, 5)
    assert b.stations.read(b.map.id) == b.map.hash
