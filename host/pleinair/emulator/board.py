"""A board in software: PYNQ's own code, unmodified, drives an emulated accelerator.

The overlay ``emulated:FOLDER`` paints with it. The folder is a deployment, or a build that Vivado has not seen: what
Vivado would have made is stood in for (:mod:`pleinair.fpga.handoff`). The accelerator computes the integer network with
ONNX Runtime where that is exact, else with the reference. With ``simulated:BUILD`` a simulator that the caller gives
computes instead (``pleinair`` gives the build's RTL, cycle by cycle in Verilator): a frame then goes from the host
through PYNQ, the engines' registers and the generated hardware.

``$PLEINAIR_FAULTS`` (``"hang@3 memory@0"``; pleinair.emulator.fabric) makes things go wrong on the way.

Every buffer has a copy of its own on the host's side, so that only what is flushed and invalidated passes between
the two. Needs pynq; reset values of clock registers: AMD UG1087 (CRL_APB, CRF_APB), UG585 (SLCR).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pynq
from pynq.buffer import PynqBuffer
from pynqmetadata.frontends import Metadata
from pynqmetadata.views.runtime import RuntimeMetadataParser

from pleinair.emulator.fabric import Compute, Fabric, Memory, Power, Simulator, parse_faults
from pleinair.emulator.stand_in import stand_in_for_build
from pleinair.emulator.stations import LitPainting, Stations
from pleinair.engines.exact import exact_runner
from pleinair.errors import EngineError, OptionError
from pleinair.fpga.build_folder import is_build
from pleinair.fpga.deployment import Deployment, read_deployment
from pleinair.fpga.driver import Accelerator
from pleinair.fpga.handoff import is_zynq_7000, light_port, weight_ports
from pleinair.fpga.overlay import SIMULATED, Overlay
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork
from pleinair.network.trimming import inner

FAULTS_VARIABLE = "PLEINAIR_FAULTS"
#: Seconds for a processor, or a simulation of every gate, to paint the first tile.
_FIRST_DEADLINE = 3600.0
_PS = 0xF000_0000
#: Words of a wide register.
_REGISTER_WORDS = 2
#: Clock registers after power-up: PLLs at 1.5 GHz (UltraScale+) or 1 GHz (Zynq-7000), fabric clocks at 100 MHz.
_ULTRASCALE_RESET = {
    0xFF5E0020: 90 << 8 | 1 << 16,
    0xFF5E0030: 90 << 8 | 1 << 16,
    0xFD1A002C: 72 << 8,
    **{0xFF5E00C0 + 4 * i: 1 << 24 | 1 << 16 | 15 << 8 for i in range(4)},
}
_ZYNQ_7000_RESET = {
    0xF8000100: 26 << 12,
    0xF8000104: 21 << 12,
    0xF8000108: 20 << 12,
    0xF8000120: 2 << 8,
    **{0xF8000170 + 16 * i: 2 << 20 | 5 << 8 for i in range(4)},
}


class EmulatedBuffer(PynqBuffer):  # type: ignore[misc]
    """A buffer whose memory goes back to the emulated board when it is freed."""

    def freebuffer(self) -> None:
        """Free the memory; what still runs on it will find no buffer there."""
        address = self.__dict__.pop("allocation", None)
        if address is not None:
            self.device.memory.free(address)


class MappedRegisters(np.ndarray):
    """An array of uint32 whose words are a device's registers.

    A slice of one or two words is an array of registers again, as pynq keeps them; a longer one is what they hold.
    Such runs must begin and end at multiples of four, as a processor's copy of others may be unaligned.
    """

    device: EmulatedDevice
    address: int

    def __array_finalize__(self, whole: Any) -> None:
        if isinstance(whole, MappedRegisters):
            self.device, self.address = whole.device, whole.address

    def __getitem__(self, key: Any) -> Any:
        words = self._words(key)
        if isinstance(key, slice) and len(words) <= _REGISTER_WORDS:
            part = super().__getitem__(key)
            assert isinstance(part, MappedRegisters)
            part.address = self.address + 4 * words.start
            return part
        values = np.array([self.device._read(self.address + 4 * k) for k in words], np.uint32)
        return values if isinstance(key, slice) else values[0]

    def __setitem__(self, key: Any, value: Any) -> None:
        words = self._words(key)
        for k, word in zip(words, np.broadcast_to(value, len(words)), strict=True):
            self.device._write(self.address + 4 * k, int(word))

    def _words(self, key: Any) -> range:
        words = range(self.shape[0])[key if isinstance(key, slice) else slice(key, key + 1)]
        if (
            isinstance(key, slice)
            and len(words) > _REGISTER_WORDS
            and (words.start % 4 or words.stop % 4 or words.step != 1)
        ):
            raise RuntimeError(f"unaligned access to registers at {self.address + 4 * words.start:#x}")
        return words


@dataclass(frozen=True)
class StationsMaker:
    """Makes the stations of an adaptive network that has just been loaded."""

    make: Callable[[], Stations]

    def __call__(self) -> Stations:
        """Stations that have begun no frame."""
        return self.make()


class EmulatedDevice(pynq.Device):  # type: ignore[misc]
    """A pynq device; see this file's description. Give it to an overlay, or make it ``pynq.Device.active_device``."""

    def __init__(
        self, deployment: Deployment, compute: Compute | StationsMaker, power: Power | None = None, mapped: bool = False
    ) -> None:
        """``compute``: of an adaptive network, what makes its stations, anew each time that a bitstream is loaded.

        ``mapped``: registers are memory for the processor, as on a board, and not messages.
        """
        super().__init__("emulated")
        self.name = "emulated"
        self.power = power or Power()
        self.memory = Memory()
        self.fabric: Fabric | None = None
        self.downloads = 0
        self.scratch: Any = None
        self.capabilities = {"MEMORY_MAPPED": True} if mapped else {"REGISTER_RW": True}
        self._handoff = deployment.bitfile.with_suffix(".hwh")
        zynq_7000 = is_zynq_7000(self._handoff)
        self.arch = "armv7l" if zynq_7000 else "aarch64"
        self.bitfile_name: str | None = None
        self.timestamp: str | None = None
        self._system = dict(_ZYNQ_7000_RESET if zynq_7000 else _ULTRASCALE_RESET)
        self._engines, self._error_register = deployment.engines, deployment.error_register
        self._shape, self._inset = (deployment.height, deployment.width), deployment.inset
        self._compute = compute

    # -- what pynq asks of a device

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """pynq's parse of the .hwh beside a bitstream."""
        return RuntimeMetadataParser(Metadata(input=str(Path(bitfile_name).with_suffix(".hwh"))))

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Load a bitstream: what runs stops, registers are as after a reset, buffers stay."""
        if self.fabric is not None:
            self.fabric.switch_off()
        first, last = (int(parser.ip_dict[name]["phys_addr"]) for name in self._engines)
        ports = {address: size for address, size in weight_ports(self._handoff).values()}
        compute, light, (height, width) = self._compute, None, self._shape
        if isinstance(compute, StationsMaker):
            stations = compute()
            compute, light = frame_by_frame(stations.paint, height, width), (*light_port(self._handoff), stations)
        self.fabric = Fabric(
            self.memory,
            self.power,
            (first, last),
            height * width * 3,
            compute,
            ports,
            light,
            self._error_register,
            (height - 2 * self._inset) * (width - 2 * self._inset) * 3,
        )
        self.downloads += 1
        self.post_download(bitstream, parser)

    def read_registers(self, address: int, length: int) -> bytes:
        """Registers as little-endian bytes."""
        return b"".join(self._read(a).to_bytes(4, "little") for a in range(address, address + length, 4))

    def write_registers(self, address: int, data: bytes) -> None:
        """Registers from little-endian bytes."""
        data = bytes(data)
        for k in range(0, len(data), 4):
            self._write(address + k, int.from_bytes(data[k : k + 4], "little"))

    def mmap(self, address: int, length: int) -> MappedRegisters:
        """Registers as an array."""
        array = np.zeros(length // 4, np.uint32).view(MappedRegisters)
        array.device, array.address = self, address
        return array

    def _read(self, address: int) -> int:
        if address >= _PS:
            return self._system.get(address, 0)
        if self.fabric is None:
            raise RuntimeError("no bitstream is loaded")
        return self.fabric.read(address)

    def _write(self, address: int, value: int) -> None:
        if address >= _PS:
            self._system[address] = value
        elif self.fabric is None:
            raise RuntimeError("no bitstream is loaded")
        else:
            self.fabric.write(address, value)

    def allocate(self, shape: Any, dtype: Any, cacheable: bool = True, **_: Any) -> EmulatedBuffer:
        """A buffer; RuntimeError where a real device raises it, too."""
        number = self.power.allocations
        self.power.allocations += 1
        count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if self.power.strikes("memory", number):
            raise RuntimeError("BO allocation failed: [Errno 12] Cannot allocate memory")
        try:
            address = self.memory.allocate(count)
        except MemoryError as error:
            raise RuntimeError(f"BO allocation failed: {error}") from error
        host = np.full(count, 0x5A, np.uint8)
        buffer = EmulatedBuffer(
            shape, dtype, buffer=host, device=self, bo=(address, host), device_address=address, coherent=False
        )
        buffer.allocation = address
        return buffer

    def flush(self, bo: tuple[int, np.ndarray], offset: int, pointer: int, count: int) -> None:
        """The host's copy into memory."""
        address, host = bo
        self.memory.view(address + offset, count)[:] = host[offset : offset + count]

    def invalidate(self, bo: tuple[int, np.ndarray], offset: int, pointer: int, count: int) -> None:
        """Memory into the host's copy."""
        address, host = bo
        host[offset : offset + count] = self.memory.view(address + offset, count)


# -- what the accelerator computes


def frame_by_frame(run: Any, height: int, width: int) -> Compute:
    """A runner of frames as what the fabric computes with: flat bytes in, flat bytes out."""

    def compute(data: np.ndarray) -> np.ndarray:
        painted: np.ndarray = run(data.reshape(height, width, 3))
        return painted.reshape(-1)

    return compute


def integer_network(deployment: Deployment) -> Compute | StationsMaker:
    """The deployment's network: by ONNX Runtime where it is installed and exact, else by the reference."""
    network = load_model(str(deployment.model), deployment.bits).network
    assert isinstance(network, IntegerNetwork)
    if deployment.light is not None:
        paint = LitPainting(network)
        return StationsMaker(partial(Stations, network, deployment.light, paint=paint, trimmed=deployment.inset > 0))
    try:
        run: Any = exact_runner(network, 1)
    except EngineError:
        run = partial(reference.run, network)
    return frame_by_frame(lambda frame: inner(run(frame), deployment.inset), deployment.height, deployment.width)


def simulated_network(deployment: Deployment, simulated: Callable[..., Any]) -> Compute | StationsMaker:
    """What a simulator of the deployment's hardware computes; of an adaptive network, a frame at a time in a light."""
    if deployment.light is None:
        return frame_by_frame(simulated, deployment.height, deployment.width)
    network = load_model(str(deployment.model), deployment.bits).network
    assert isinstance(network, IntegerNetwork)
    return StationsMaker(partial(Stations, network, deployment.light, through=simulated))


def open_board(overlay: Overlay, simulator: Simulator | None = None) -> Accelerator:
    """The accelerator of ``emulated:FOLDER`` or ``simulated:BUILD``, not loaded yet.

    ``simulator`` opens what runs a build's hardware; only ``simulated`` needs it.

    Raises DeploymentError, ModelError, OptionError, and what ``simulator`` raises.
    """
    folder, simulated = overlay.folder, overlay.kind == SIMULATED
    faults = parse_faults(os.environ.get(FAULTS_VARIABLE, ""))
    if simulated and simulator is None:
        raise OptionError(f"{overlay}: needs a simulator of the build's hardware (pleinair_hw)", option="overlay")
    scratch = None
    if is_build(folder):
        scratch = tempfile.TemporaryDirectory(prefix="pleinair-emulated-")
        deployment = stand_in_for_build(folder, Path(scratch.name) / "deploy")
    elif simulated:
        raise OptionError(f"{overlay}: not a build's folder, which has the RTL", option="overlay")
    else:
        deployment = read_deployment(folder)
    compute: Compute | StationsMaker
    if simulated and simulator is not None:
        compute = simulated_network(deployment, simulator(folder))
    else:
        compute = integer_network(deployment)
    device = EmulatedDevice(deployment, compute, Power(faults))
    # It goes when the device does.
    device.scratch = scratch
    return Accelerator(deployment, device, _FIRST_DEADLINE, load=False)
