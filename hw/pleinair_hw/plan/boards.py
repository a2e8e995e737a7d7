"""The boards that the accelerator is planned for, and what their chips hold.

Plain data: needs neither FINN nor Vivado, so that estimates and the folding search run anywhere.

Sources: AMD DS190 (Zynq-7000 overview), DS891 (Zynq UltraScale+ overview), DS987 (K26 module). Look-up tables that can
hold data (those of SLICEM) are the distributed RAM of those tables divided by 64 bits a table, and equal what Vivado's
utilisation reports give as "LUT as Memory, available".
"""

from __future__ import annotations

from dataclasses import dataclass

from pleinair.errors import OptionError


@dataclass(frozen=True)
class Board:
    """One board: its name on the command line, its chip, what the chip holds, the clock to plan with.

    ``bram36`` counts block RAMs of 36 Kib (each splits into two of 18 Kib), ``uram`` UltraRAMs of 288 Kib, ``lut``
    look-up tables of six inputs, ``lutram`` those among them that can be memory, ``ff`` flip-flops. ``finn_name`` is
    what finn-plus calls the board.
    """

    name: str
    title: str
    part: str
    finn_name: str
    dsp: int
    dsp_block: str
    bram36: int
    uram: int
    lut: int
    lutram: int
    ff: int
    clock_mhz: int

    @property
    def is_zynq_7000(self) -> bool:
        """32-bit Arm, DSP48E1, no UltraRAM."""
        return self.part.startswith("xc7z")

    @property
    def is_ultrascale(self) -> bool:
        """Zynq UltraScale+: 64-bit Arm, DSP48E2."""
        return not self.is_zynq_7000

    @property
    def yosys_family(self) -> str:
        """The ``-family`` of Yosys' ``synth_xilinx``."""
        return "xc7" if self.is_zynq_7000 else "xcup"

    @property
    def bram18(self) -> int:
        return 2 * self.bram36

    @property
    def clock_hz(self) -> float:
        return self.clock_mhz * 1e6

    @property
    def clock_ns(self) -> float:
        """The clock's period, which FINN's flow is given."""
        return 1000 / self.clock_mhz


# fmt: off
BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board(
            name="pynq-z2", title="TUL PYNQ-Z2", part="xc7z020clg400-1", finn_name="Pynq-Z2",
            dsp=220, dsp_block="DSP48E1", bram36=140, uram=0, lut=53_200, lutram=17_400, ff=106_400, clock_mhz=100,
        ),
        Board(
            name="ultra96", title="Avnet Ultra96", part="xczu3eg-sbva484-1-e", finn_name="Ultra96",
            dsp=360, dsp_block="DSP48E2", bram36=216, uram=0, lut=70_560, lutram=28_800, ff=141_120, clock_mhz=300,
        ),
        Board(
            name="aup-zu3", title="AMD AUP-ZU3", part="xczu3eg-sfvc784-2-e", finn_name="AUP-ZU3_8GB",
            dsp=360, dsp_block="DSP48E2", bram36=216, uram=0, lut=70_560, lutram=28_800, ff=141_120, clock_mhz=300,
        ),
        Board(
            name="kv260", title="AMD Kria KV260", part="xck26-sfvc784-2LV-c", finn_name="KV260_SOM",
            dsp=1_248, dsp_block="DSP48E2", bram36=144, uram=64, lut=117_120, lutram=57_600, ff=234_240, clock_mhz=300,
        ),
        Board(
            name="zcu104", title="AMD ZCU104", part="xczu7ev-ffvc1156-2-e", finn_name="ZCU104",
            dsp=1_728, dsp_block="DSP48E2", bram36=312, uram=96, lut=230_400, lutram=101_760, ff=460_800, clock_mhz=300,
        ),
    )
}
# fmt: on


def find_board(name: str) -> Board:
    """The board of that name, in any case; raises :class:`OptionError`, which lists the boards, where there is none."""
    board = BOARDS.get(name.strip().lower())
    if board is None:
        raise OptionError(f"There is no board {name!r}; the boards are {', '.join(BOARDS)}.")
    return board
