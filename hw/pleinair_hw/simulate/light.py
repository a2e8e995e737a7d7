"""The light of a simulated accelerator: lights written while frames flow, and frames metered by the hardware itself.

Everything goes through the port that a driver has, in the way that a driver has it: a table is written in the bank that
is not in use, read back, and comes into effect with the frame whose number is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pleinair.fpga.light_map import LightMap, Station
from pleinair.network.integer import IntegerNetwork
from pleinair.network.light import LayerLight, Light, Sums, identity, layer_light
from pleinair.network.trimming import grids
from pleinair.painting.meter import Meter
from pleinair.painting.tiles import Window
from pleinair_hw.simulate.script import OKAY, Script
from pleinair_hw.simulate.simulation import Accelerator, Progress, SimulationResult, load, simulate
from pleinair_hw.simulate.verilator import SimulationError

#: Byte offsets of a station's registers.
FRAMES, APPLY, STATUS, ROWS, COLUMNS, METER, METERED = range(0, 28, 4)
_ALL = 0xFFFFFFFF


def light_map(accelerator: Accelerator, network: IntegerNetwork) -> LightMap:
    """The registers of an accelerator of this network. Raises SimulationError for one of another, or without light."""
    found = accelerator.manifest.light_map
    if found is None or found.network != identity(network):
        raise SimulationError(f"{accelerator.folder} holds no accelerator with the light of this network")
    return found


def write_table(script: Script, station: Station, layer: LayerLight) -> None:
    """Write a station's numbers to the bank that is not in use."""
    columns = (layer.bias.tolist(), layer.multiplier.tolist(), layer.shift.tolist())
    for c, (bias, multiplier, shift) in enumerate(zip(*columns, strict=True)):
        for k, word in enumerate((bias, bias >> 32, multiplier | shift << 8, 0)):
            script.write(station.table + 16 * c + 4 * k, word)


class _Lights:
    """A script that writes a light for each frame as soon as the frame before has begun."""

    def __init__(self, registers: LightMap, lights: Sequence[Light], frame_words: int) -> None:
        self.map, self.script = registers, Script()
        self.script.allow(0)
        self.identity = [self.script.read(registers.id), self.script.read(registers.id + 4)]
        self.states: list[tuple[int, Station, int]] = []
        for frame, light in enumerate(lights):
            for station, layer in zip(registers.stations, light.layers, strict=True):
                if frame:
                    self.script.poll(station.registers + FRAMES, _ALL, frame)
                write_table(self.script, station, layer)
                self.script.write(station.registers + APPLY, frame)
                self.states.append((self.script.read(station.registers + STATUS), station, frame))
            self.script.allow((frame + 1) * frame_words)

    def check(self, result: SimulationResult) -> None:
        """Whether the port was the map's and every light in time."""
        wrong = [line for line, reply in enumerate(result.replies) if reply.response != OKAY]
        if wrong:
            raise SimulationError(f"the port of the light refused line {wrong[0]}: {self.script.lines[wrong[0]]}")
        if [result.replies[line].data for line in self.identity] != [self.map.hash, 1]:
            raise SimulationError("the port of the light has another map than the manifest")
        for line, station, frame in self.states:
            if result.replies[line].data & ~1:
                raise SimulationError(f"station {station.name} did not take the light of frame {frame} in time")


def simulate_in_lights(
    build: Path | Accelerator,
    network: IntegerNetwork,
    frames: np.ndarray,
    lights: Sequence[Light],
    *,
    stall_in: int = 0,
    stall_out: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    optimise: int = 2,
    cache: Path | None = None,
) -> SimulationResult:
    """Send frames through an adaptive accelerator, back to back, each in a light of its own.

    Frame n + 1 is offered as soon as every station has taken frame n's light and holds that of frame n + 1, with
    frame n still flowing. ``network``: the accelerator's. ``lights``: one a frame. The rest is as :func:`.simulate` has
    it.

    Raises what that does, and SimulationError for an accelerator of another network.
    """
    accelerator = build if isinstance(build, Accelerator) else load(build)
    words = accelerator.manifest.inputs[0].words
    lit = _Lights(light_map(accelerator, network), lights, words)
    result = simulate(
        accelerator,
        frames,
        stall_in=stall_in,
        stall_out=stall_out,
        seed=seed,
        script=lit.script,
        progress=progress,
        optimise=optimise,
        cache=cache,
    )
    lit.check(result)
    return result


def _arm_meter(script: Script, station: Station, counted: Window) -> None:
    """Frame 0's sums over a window of the station's positions."""
    script.write(station.registers + ROWS, counted.top | counted.bottom << 16)
    script.write(station.registers + COLUMNS, counted.left | counted.right << 16)
    script.write(station.registers + METER, 0)


def _pass(
    accelerator: Accelerator,
    registers: LightMap,
    pixels: np.ndarray,
    layers: Sequence[LayerLight],
    counted: Window,
    optimise: int,
    cache: Path | None,
) -> Sums:
    """The sums of the station behind ``layers``' last, which runs with its metering numbers."""
    script, station = Script(), registers.stations[len(layers) - 1]
    assert station.sums is not None
    script.allow(0)
    for before, layer in zip(registers.stations, layers, strict=False):
        write_table(script, before, layer)
        script.write(before.registers + APPLY, 0)
    _arm_meter(script, station, counted)
    script.allow(accelerator.manifest.inputs[0].words)
    script.poll(station.registers + METERED, 3, 1)
    lines = [[script.read(station.sums + 16 * c + 4 * k) for k in range(4)] for c in range(station.channels)]
    result = simulate(accelerator, pixels[None], script=script, optimise=optimise, cache=cache)
    words = [[result.replies[line].data for line in channel] for channel in lines]
    count = (counted.bottom - counted.top) * (counted.right - counted.left)
    return Sums(count, tuple(w[0] for w in words), tuple(w[2] | w[3] << 32 for w in words))


def measure(
    build: Path | Accelerator,
    network: IntegerNetwork,
    pixels: np.ndarray,
    frame: Window,
    *,
    progress: Progress | None = None,
    optimise: int = 2,
    cache: Path | None = None,
) -> tuple[Light, tuple[Sums, ...]]:
    """A frame's own light, measured by the simulated hardware: one pass of the frame for each station, in order.

    ``pixels``: uint8 [H, W, 3] of the accelerator's size. ``frame``: the window of it that the frame itself fills.
    Gives the light and the sums of each station.
    """
    accelerator = build if isinstance(build, Accelerator) else load(build)
    registers = light_map(accelerator, network)
    places = zip(network.convolutions(), grids(network, trimmed=accelerator.manifest.inset > 0), strict=True)
    adaptive = [(c, grid) for c, grid in places if c.norm is not None]
    layers: list[LayerLight] = []
    sums: list[Sums] = []
    for number, (c, grid) in enumerate(adaptive):
        if progress is not None:
            progress("meter", number / len(adaptive))
        assert c.norm is not None
        own = LayerLight(c.name, c.norm.meter_bias, c.norm.meter_multiplier, c.norm.meter_shift)
        counted = Meter(frame).window(grid.scale).within(Window(grid.inset, grid.inset, 0, 0))
        sums.append(_pass(accelerator, registers, pixels, [*layers, own], counted, optimise, cache))
        high = (1 << network.bits) - 1 if number else 255
        layers.append(layer_light(c, sums[-1], bits=network.bits, input_high=high))
    return Light(identity(network), tuple(layers)), tuple(sums)
