"""The shell between a processing system and an accelerator: transfers, registers, AXI's rules, against a golden model.

The model is a processor, its memory, an accelerator and AXI-lite ports in C++ (``shell.cpp``). Transfers of random
frames from and to random addresses, with waits, errors on the bus and resets; every byte, burst, strobe and answer is
compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from pleinair_hw.shell.write import SOURCES
from pleinair_hw.simulate.verilator import Simulator, build
from tests import children
from tests.hw.streams import RTL, needs_verilator

HARNESS = Path(__file__).with_name("shell.cpp")

pytestmark = needs_verilator


@dataclass(frozen=True)
class Form:
    """A shell: bytes of a stream's word and of a frame, in and out; bits of the bus; bits of each AXI-lite port."""

    in_bytes: int
    in_frame: int
    out_bytes: int
    out_frame: int
    data_bits: int
    address_bits: int
    ports: tuple[int, ...] = ()

    @property
    def bases(self) -> list[int]:
        """Where the ports begin: each at a multiple of its size, behind the engines."""
        found, at = [], 0x20000
        for bits in self.ports:
            at = -(-at // (1 << bits)) << bits
            found.append(at)
            at += 1 << bits
        return found

    @property
    def map_bits(self) -> int:
        """One bit more than the map needs, so that there are addresses behind it."""
        end = self.bases[-1] + (1 << self.ports[-1]) if self.ports else 0x20000
        return (end - 1).bit_length() + 1

    def build(self, optimise: int) -> Simulator:
        words = {name: getattr(self, name.lower()) for name in ("IN_BYTES", "IN_FRAME", "OUT_BYTES", "OUT_FRAME")}
        words |= {"DATA_BITS": self.data_bits, "ADDRESS_BITS": self.address_bits, "MAP_BITS": self.map_bits}
        words["PORTS"] = len(self.ports)
        parameters: dict[str, int | str] = dict(words)
        for name, values in (("BASES", self.bases), ("SIZES", self.ports)):
            if values:
                parameters[name] = f"{32 * len(values)}'h" + "".join(f"{value:08x}" for value in reversed(values))
        sources = [RTL / f"{name}.sv" for name in SOURCES]
        return build("shell", sources, [], [], parameters=parameters, optimise=optimise, unique=True, harness=HARNESS)

    def run(
        self,
        simulator: Simulator,
        seed: int,
        bursts: int,
        stalls: int,
        errors: int,
        resets: int,
        deadline: float = children.DEADLINE,
    ) -> dict:
        words = (self.in_bytes, self.in_frame, self.out_bytes, self.out_frame, self.data_bits, self.address_bits)
        words += (self.map_bits, len(self.ports), *self.ports)
        command = [str(x) for x in (simulator.executable, seed, bursts, stalls, errors, resets, *words)]
        done = children.run(command, deadline=deadline)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


#: A pixel a word on both families' buses, words wider and narrower than the bus's, frames that end within a word.
FORMS = {
    "zynq7000": Form(3, 192, 3, 51, 64, 32, (16, 17)),
    "narrow": Form(1, 37, 6, 66, 32, 32),
    "zynqmp": Form(24, 240, 5, 35, 128, 40, (16,)),
}


@pytest.mark.parametrize("name", FORMS)
def test_transfers_registers_and_rules(name):
    form = FORMS[name]
    told = form.run(form.build(0), seed=len(name), bursts=4000, stalls=80, errors=100, resets=300)
    assert told["bursts"] >= 4000
    for what in ("errors", "resets", "empty", "words_in", "words_out"):
        assert told[what] > 0, what


def test_the_engines_are_as_fast_as_an_accelerator_can_be():
    """Without waits, less than two cycles a pixel, the processor's looking for the end included."""
    form = Form(3, 30720, 3, 30720, 64, 32)
    told = form.run(form.build(0), seed=3, bursts=6000, stalls=0, errors=0, resets=0)
    assert told["errors"] == told["resets"] == 0
    assert told["cycles"] < 2.0 * max(told["words_in"], told["words_out"])


@pytest.mark.rtl
@pytest.mark.parametrize("name", FORMS)
def test_a_million_bursts(name):
    form = FORMS[name]
    told = form.run(
        form.build(3), seed=17, bursts=1_000_000 // len(FORMS) + 1, stalls=90, errors=40, resets=100, deadline=3600
    )
    assert told["impossible"] > 100 and told["errors"] > 1000 and told["resets"] > 100


@pytest.mark.rtl
def test_the_model_notices_what_breaks(tmp_path):
    """One fault in each part of the RTL, each of which the model must tell."""
    faults = {
        "dma_plan": ("blocks <= final_word", "blocks <= 1 + final_word"),
        "dma_gearbox": ("count <= enter? kept + in_units : kept;", "count <= enter? count + in_units : kept;"),
        "dma_write": ("tail == '0 || k < tail", "1'b1"),
        "axi_registers": ("if(moves) at <=", "if(1) at <="),
    }
    form = FORMS["zynq7000"]
    parameters = {name: getattr(form, name.lower()) for name in ("IN_BYTES", "IN_FRAME", "OUT_BYTES", "OUT_FRAME")}
    for broken, (right, wrong) in faults.items():
        sources = []
        for name in SOURCES:
            text = (RTL / f"{name}.sv").read_text()
            if name == broken:
                assert text.count(right) == 1
                text = text.replace(right, wrong)
            (tmp_path / f"{name}.sv").write_text(text)
            sources.append(tmp_path / f"{name}.sv")
        parameters |= {"MAP_BITS": 19, "PORTS": 1, "BASES": "32'h20000", "SIZES": "32'd16"}
        compiled = build("shell", sources, [], [], parameters=parameters, optimise=0, unique=True, harness=HARNESS)
        words = (form.in_bytes, form.in_frame, form.out_bytes, form.out_frame, 64, 32, 19, 1, 16)
        done = children.run([str(x) for x in (compiled.executable, 1, 20000, 50, 0, 0, *words)])
        assert done.returncode == 3 and "stopped: " in done.stdout, f"{broken}: {done.stdout}"
