"""Emulated boards for tests, with random networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pynq

from pleinair.backends import open_painter
from pleinair.emulator.board import EmulatedDevice, StationsMaker
from pleinair.emulator.fabric import Fabric, Power, parse_faults
from pleinair.emulator.stand_in import stand_in
from pleinair.emulator.stations import Stations, with_tables
from pleinair.fpga.adaptive import AdaptiveAcceleratorPainter
from pleinair.fpga.driver import Accelerator
from pleinair.fpga.painter import AcceleratorPainter
from pleinair.models import Model, load_model
from pleinair.network import reference
from pleinair.painting.adaptive import AdaptivePainter
from pleinair.painting.painter import NetworkPainter
from tests.models import write_model
from tests.networks import adaptive_network, random_network

#: PYNQ 4 has given the Zynq-7000 up: it cannot read its handoff.
FAMILIES = ["pynq-z2", "zcu104"] if pynq.__version__.startswith("3.") else ["zcu104"]
#: Seconds that a test waits where it must not wait for ever.
PATIENCE = 60.0


def forget_clocks() -> None:
    """pynq keeps the clocks of the first device that a process ever used; here, each test has another."""
    if "_real_instance" in vars(pynq.ps.Clocks):
        del pynq.ps.Clocks._real_instance


class Board:
    """A deployment of a random network, its device, and what paints with it."""

    def __init__(
        self,
        folder: Path,
        name: str = FAMILIES[-1],
        bits: int = 8,
        height: int = 64,
        width: int = 96,
        margin: int | None = None,
        grain: int = 2,
        writeable: int = 0,
        faults: str = "",
        compute: Any = None,
        seed: int = 1,
        blocks: int = 0,
        adaptive: bool = False,
        metering: bool = True,
        mapped: bool = False,
        stations: Any = None,
        errors: bool = True,
        trimmed: bool = False,
    ) -> None:
        """``stations``: further arguments of an adaptive network's."""
        print(f"network of seed {seed}")
        make = adaptive_network if adaptive else random_network
        self.network = make(seed, 4, blocks, bits, 3)
        halo = self.network.halo
        model = write_model(folder / "model", self.network, halo if margin is None else margin, grain)
        self.model: Model = load_model(str(model), bits)
        self.deployment = stand_in(
            folder / "deploy",
            model,
            bits,
            board=name,
            clock_mhz=100,
            height=height,
            width=width,
            writeable=writeable,
            metering=metering,
            errors=errors,
            trimmed=trimmed,
        )
        if self.deployment.light is not None:
            options = {"paint": self.compute_lit, "trimmed": trimmed, **(stations or {})}
            compute = StationsMaker(partial(Stations, self.network, self.deployment.light, **options))
        self.power = Power(parse_faults(faults))
        self.device = EmulatedDevice(self.deployment, compute or self.compute, self.power, mapped)
        #: Whether what was done wrong belongs to the test.
        self.forgiven = False
        self._closing: list[Any] = []

    def compute(self, data: np.ndarray) -> np.ndarray:
        """The reference."""
        frame = data.reshape(self.deployment.height, self.deployment.width, 3)
        inset = self.deployment.inset
        painted = reference.run(self.network, frame)
        return painted[inset : frame.shape[0] - inset, inset : frame.shape[1] - inset].reshape(-1)

    def compute_lit(self, pixels: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
        """The reference, with the numbers in the tables."""
        return reference.run(with_tables(self.network, tables), pixels)

    @property
    def fabric(self) -> Fabric:
        """What the last bitstream holds."""
        assert self.device.fabric is not None
        return self.device.fabric

    def accelerator(self, first_deadline: float = PATIENCE, kind: type[Accelerator] = Accelerator) -> Accelerator:
        """The driver, which is closed with the board."""
        forget_clocks()
        self._closing.append(kind(self.deployment, self.device, first_deadline))
        return self._closing[-1]

    def painter(
        self,
        fallback: NetworkPainter | None = None,
        first_deadline: float = PATIENCE,
        kind: type[Accelerator] = Accelerator,
    ) -> AcceleratorPainter:
        """What paints frames, closed with the board."""
        accelerator = self.accelerator(first_deadline, kind)
        self._closing[-1] = AcceleratorPainter(self.model, accelerator, fallback)
        return self._closing[-1]

    def adaptive_painter(
        self, fallback: AdaptivePainter | None = None, kind: type[Accelerator] = Accelerator
    ) -> AdaptiveAcceleratorPainter:
        """What paints frames in any light, closed with the board."""
        accelerator = self.accelerator(kind=kind)
        self._closing[-1] = AdaptiveAcceleratorPainter(self.model, accelerator, fallback)
        return self._closing[-1]

    def adaptive_reference(self) -> AdaptivePainter:
        """The painter to compare with, of an adaptive network."""
        painter = open_painter(self.model, "reference")
        assert isinstance(painter, AdaptivePainter)
        return painter

    def reference(self) -> NetworkPainter:
        """The painter to compare with."""
        network = self.network
        return NetworkPainter(
            "reference",
            network,
            self.model.margin,
            lambda image: reference.run(network, image),
            1 << 20,
            self.model.grain,
        )

    def frames(self, count: int, width: int, height: int, seed: int = 0) -> list[np.ndarray]:
        """Random frames."""
        print(f"frames of seed {seed}")
        rng = np.random.default_rng(seed)
        return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]

    def close(self) -> None:
        """Close what was opened."""
        while self._closing:
            self._closing.pop().close()
        if self.device.fabric is not None:
            self.device.fabric.switch_off()
