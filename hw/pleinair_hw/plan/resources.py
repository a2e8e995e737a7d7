"""What every stage of the accelerator takes of a chip: tables, memories, flip-flops, DSPs.

Plain arithmetic, no FINN: the folding search calls these functions some thousand times. DSP counts follow from the RTL
and are exact; block memories are packed by the data sheets' aspects. LUT and flip-flop counts are formulas whose shape
follows the RTL and whose coefficients were fitted to open synthesis (Yosys); docs/resources.md has the measured rows,
the errors, and where Yosys was corrected. They are for planning.

``lut`` counts tables used as logic, ``lutram`` tables used as memory (distributed RAM, shift registers); a chip must
have their sum, and ``lutram`` of its SLICEM tables. ``bram18`` are block RAMs of 18 Kib, two to a tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from pleinair_hw.plan.boards import Board

#: Of memories. "uniform" is block RAM as Yosys makes it, all blocks of a memory in one aspect; Vivado mixes aspects.
STYLES = ("auto", "distributed", "block", "uniform", "ultra")
#: Kinds of a chip's resources, as :meth:`Resources.shares` has them, in words.
NAMES = {
    "dsp": "DSPs",
    "lut": "LUTs",
    "lutram": "LUTs as memory",
    "ff": "flip-flops",
    "bram": "block RAM",
    "uram": "UltraRAM",
}

#: Results that a formula keeps: a search asks for the same stages again and again.
_KEPT = 1 << 15


@dataclass(frozen=True)
class Resources:
    """A share of a chip. Adds up with ``+`` and ``sum(..., Resources())``."""

    lut: int = 0
    lutram: int = 0
    ff: int = 0
    dsp: int = 0
    bram18: int = 0
    uram: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.lut + other.lut,
            self.lutram + other.lutram,
            self.ff + other.ff,
            self.dsp + other.dsp,
            self.bram18 + other.bram18,
            self.uram + other.uram,
        )

    @property
    def total_lut(self) -> int:
        """Tables of both uses."""
        return self.lut + self.lutram

    def shares(self, board: Board) -> dict[str, float]:
        """Each resource as a share of what the board has; 1 is all of it, infinity of what it lacks."""

        def share(used: int, there: int) -> float:
            return used / there if there else (math.inf if used else 0.0)

        return {
            "lut": share(self.total_lut, board.lut),
            "lutram": share(self.lutram, board.lutram),
            "ff": share(self.ff, board.ff),
            "dsp": share(self.dsp, board.dsp),
            "bram": share(self.bram18, board.bram18),
            "uram": share(self.uram, board.uram),
        }

    def binding(self, board: Board) -> tuple[str, float]:
        """The resource of which the greatest share is used, and that share."""
        shares = self.shares(board)
        name = max(shares, key=lambda key: shares[key])
        return name, shares[name]

    def fits(self, board: Board, limit: float = 1.0) -> bool:
        """Whether no share exceeds ``limit``."""
        return self.binding(board)[1] <= limit


def clog2(n: int) -> int:
    """SystemVerilog's $clog2: address bits of n places; 0 for 0 and 1."""
    return max(n - 1, 0).bit_length()


def padded(bits: int) -> int:
    """An AXI stream's data are whole bytes."""
    return -(-bits // 8) * 8


def _up(value: float) -> int:
    return math.ceil(value - 1e-9)


# ---------------------------------------------------------------------------------------------------- memories

#: Aspects of a RAMB18 with one write and one read port: (bits, words) (UG473 table 1-7, UG573 table 1-8).
_RAMB18 = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))


@cache
def _bram18_table(depth: int) -> tuple[int, ...]:
    """Least RAMB18s for words of 0 .. 255 bits: the word is cut into columns, each of any aspect.

    512 words of 36 bits are not chained: from 513 words on Vivado builds from 1024 (so FINN's estimate of its weights).
    """
    columns = [(bits, -(-depth // words)) for bits, words in _RAMB18 if words > 512 or depth <= 512]
    table = [0] * 256
    for width in range(1, 256):
        table[width] = min(count + table[max(0, width - bits)] for bits, count in columns)
    return tuple(table)


def bram18_blocks(depth: int, bits: int) -> int:
    """RAMB18s for ``depth`` words of ``bits`` bits, one write and one read port: the cheapest cut into columns.

    All widths divide 36, so beyond some width the cheapest 36 bits repeat; below, the table holds the optimum.
    """
    table = _bram18_table(depth)
    repeats = max(0, (bits - 180) // 36)
    return repeats * table[36] + table[bits - 36 * repeats]


#: What Yosys makes a memory of, as RAMB18s: its price in tables, words of the narrowest aspect, widths from there on.
_YOSYS_BLOCKS = (
    (1, 129, 1 << 14, (1, 2, 4, 9, 18, 36)),
    (2, 257, 1 << 15, (1, 2, 4, 9, 18, 36, 72)),
    (4, 513, 1 << 16, (1, 2, 4, 9)),
)


@cache
def uniform_bram18_blocks(depth: int, bits: int, constant: bool = False) -> int:
    """RAMB18s for ``depth`` words of ``bits`` bits as Yosys packs them: all blocks have one aspect.

    Where a memory is deeper than the aspect, the parts lie side by side, each in whole bytes of 9 bits where the memory
    is written. The aspect is the one that is cheapest together with the tables that choose among the parts.
    Source: Yosys, passes/memory/memory_libmap.cc (handle_geom) and techlibs/xilinx/brams_xc4v.txt.

    Args:
        constant: it is never written.
    """
    best: tuple[float, int] | None = None
    for blocks, price, words, widths in _YOSYS_BLOCKS:
        for step, wide in enumerate(widths):
            byte = 1 if constant else min(wide, 9)
            parts = -(-depth // (words >> step))
            count = -(-(parts * -(-bits // byte) * byte) // wide)
            cost = price * count + (parts - 1) * bits / 2 + (parts / 2 if parts > 1 and not constant else 0)
            if best is None or cost < best[0]:
                best = (cost, blocks * count)
    assert best is not None
    return best[1]


def uram_blocks(depth: int, bits: int) -> int:
    """UltraRAMs for ``depth`` words of ``bits`` bits: 4096 words of 72 bits each, no other aspect (UG573)."""
    return -(-depth // 4096) * -(-bits // 72)


def lutram_tables(depth: int, bits: int) -> Resources:
    """Distributed RAM with one write and one read port.

    RAM32M: 6 bits of 32 words in 4 tables; RAM64M: 3 bits of 64 words in 4 (UG474 table 2-3). UltraScale+ needs a
    seventh less. Deeper memories take one such row for each 64 words, a table per bit to select among each 4 rows, and
    a table for each row's write enable.
    """
    if depth <= 32:
        return Resources(lutram=4 * -(-bits // 6))
    rows = -(-depth // 64)
    select = 0 if rows == 1 else bits * -(-rows // 4) + rows
    return Resources(lut=select, lutram=rows * 4 * -(-bits // 3))


def rom_tables(depth: int, bits: int) -> int:
    """Tables of a constant memory: one for each 64 words of a bit, and beyond 256 words one to select among four.

    Few words have few different columns: of ``depth`` words no more than 2**depth - 2 that are not constant.
    """
    if depth < 8:
        bits = min(bits, (1 << depth) - 2)
    rows = -(-depth // 64)
    return bits * (rows + (rows - 1) // 4)


def shift_register(depth: int, bits: int) -> Resources:
    """A shift register read at a variable place: an SRLC32E for each 32 words of a bit; F7 and F8 select among four."""
    stages = -(-depth // 32)
    return Resources(lut=bits * ((stages - 1) // 4), lutram=bits * stages)


def resolve_style(depth: int, bits: int, style: str) -> str:
    """What "auto" means for a memory with a writing and a reading port: distributed up to half a RAMB18, else block."""
    if style not in STYLES:
        raise ValueError(f"there is no memory style {style!r}; allowed are {', '.join(STYLES)}")
    if style != "auto":
        return style
    return "distributed" if depth <= 64 or depth * bits <= 4608 else "block"


@lru_cache(maxsize=_KEPT)
def memory(depth: int, bits: int, style: str, constant: bool = False) -> Resources:
    """A buffer of ``depth`` words of ``bits`` bits with one writing and one reading port, without its addresses.

    Args:
        style: one of STYLES.
        constant: it is never written; counts for "uniform".
    """
    style = resolve_style(depth, bits, style)
    if style == "distributed":
        return lutram_tables(depth, bits)
    if style in ("block", "uniform"):
        # Chained memories are selected among; 2048 words are the deepest that keep a RAMB18's parity bits.
        blocks = bram18_blocks(depth, bits) if style == "block" else uniform_bram18_blocks(depth, bits, constant)
        return Resources(lut=_up(bits * _multiplexer(-(-depth // 2048))), bram18=blocks)
    return Resources(uram=uram_blocks(depth, bits))


# ------------------------------------------------------------------------------------------ matrix-vector unit


def dsp_port(dsp_block: str) -> int:
    """Bits of the multiplier's wide port."""
    if dsp_block not in ("DSP48E1", "DSP48E2"):
        raise ValueError(f"there is no formula for {dsp_block!r}; allowed are DSP48E1, DSP48E2")
    return 25 if dsp_block == "DSP48E1" else 27


def lanes(dsp_block: str, weight_bits: int, activation_bits: int, narrow: bool = True) -> int:
    """Products that one DSP computes at a time (NUM_LANES of finn-rtllib/mvu/mvu.sv), whatever the activations' sign.

    The first weight takes its bits (and one more unless the weights are narrow), each further one a lane of
    ``weight_bits + activation_bits - 1``.
    """
    port = dsp_port(dsp_block)
    if weight_bits == port:
        return 1
    return 1 + (port - (not narrow) - weight_bits) // (weight_bits + activation_bits - 1)


def mvu_dsp(pe: int, simd: int, weight_bits: int, activation_bits: int, dsp_block: str, narrow: bool = True) -> int:
    """DSPs of a matrix-vector unit: PE rows share DSPs in groups of ``lanes``, each SIMD input has its own."""
    return -(-pe // lanes(dsp_block, weight_bits, activation_bits, narrow)) * simd


def _lane_widths(
    dsp_block: str, weight_bits: int, activation_bits: int, accumulator_bits: int, narrow: bool
) -> list[int]:
    """Bits of the accumulator that belong to each lane, right to left (sliceLanes of mvu.sv)."""
    count = lanes(dsp_block, weight_bits, activation_bits, narrow)
    least = weight_bits + activation_bits - 1
    slack = dsp_port(dsp_block) - (not narrow) - weight_bits - (count - 1) * least
    offsets = [0]
    for i in range(1, count):
        extra = (slack + count - 1 - i) // (count - i)
        offsets.append(offsets[-1] + least + extra)
        slack -= extra
    offsets.append(min(offsets[-1] + accumulator_bits, 48))
    return [b - a for a, b in pairwise(offsets)]


@cache
def _adder_tree(leaves: int, bits: int, spill: bool = False) -> tuple[int, int]:
    """Bits of all adders, and of all registers, of add_multi.sv over ``leaves`` numbers of ``bits`` bits.

    Its nodes lie in an array as in a heap; every level above the deepest is registered, and a lone number too.
    ``spill``: the numbers are -1, 0 and 1, and one level goes without registers.
    """
    levels = clog2(leaves)
    if levels == 0:
        return 0, 0 if spill else bits
    load = [1] * (2 * leaves - 1)
    for i in reversed(range(leaves - 1)):
        load[i] = load[2 * i + 1] + load[2 * i + 2]
    stages = levels - spill
    adders = registers = 0
    for i, addends in enumerate(load):
        width = addends.bit_length() + 1 if spill else clog2(addends) + bits
        height = levels - (i + 1).bit_length() + 1
        adders += width if i < leaves - 1 else 0
        registers += width if height > 0 and height * stages // levels < (height + 1) * stages // levels else 0
    return adders, registers


@lru_cache(maxsize=_KEPT)
def mvu(
    mw: int,
    mh: int,
    pe: int,
    simd: int,
    weight_bits: int,
    activation_bits: int,
    accumulator_bits: int,
    dsp_block: str,
    narrow: bool = True,
    pumped: bool = False,
) -> Resources:
    """FINN's matrix-vector unit (mvu_vvu_axi.sv): DSP lanes, adder trees, activation replay, output queue.

    Args:
        mw, mh: the matrix' inputs and outputs.
        pe, simd: outputs and inputs a cycle.
        narrow: weights keep off -2**(weight_bits - 1).
        pumped: the core runs at twice the clock, on half of SIMD at a time; every input bit of a half has a register
            and a multiplexer, every output bit registers. Fitted to the difference that Yosys sees, in two shapes.
    """
    inner = -(-simd // 2) if pumped else simd
    core = mvu_core(pe, inner, weight_bits, activation_bits, accumulator_bits, dsp_block, narrow)
    # The queue is as long as the pipeline and the words that pleinair_hw.finn.patches adds. It is a shift register with
    # a variable tap: an SRLC32E a bit in Vivado, which Yosys builds from flip-flops and multiplexers instead.
    bits = pe * accumulator_bits
    words = 7 + clog2(simd + 1) + (simd == 1)
    queue = shift_register(words, bits) + Resources(lut=4 * clog2(words) + 8, ff=bits + clog2(words) + 4)
    total = core + queue + replay(mw // simd, mh // pe, simd * activation_bits)
    if pumped:
        halves = inner * (pe * weight_bits + activation_bits)
        total += Resources(lut=_up(1.4 * halves) + 8, ff=halves + 2 * bits + 8)
    return total


@cache
def mvu_core(
    pe: int,
    simd: int,
    weight_bits: int,
    activation_bits: int,
    accumulator_bits: int,
    dsp_block: str,
    narrow: bool = True,
) -> Resources:
    """mvu.sv alone: the DSPs, what crosses from lane to lane, and the adder trees over SIMD."""
    widths = _lane_widths(dsp_block, weight_bits, activation_bits, accumulator_bits, narrow)
    count = len(widths)
    full, rest = divmod(pe, count)
    low = spill = high = upper = 0
    ff = 18 + 6 * simd * (full * (count - 1) + max(0, rest - 1)) + pe * accumulator_bits
    for i, width in enumerate(widths):
        pipes = full + (i >= count - rest)  # a pipe that is not full uses its leftmost lanes
        adders, registers = _adder_tree(simd, width)
        low += pipes * adders
        ff += pipes * registers
        # What a lane carries beyond its bits; the leftmost has none when it holds the whole accumulator.
        carried = accumulator_bits - width + 1 if accumulator_bits > width else 1 + clog2(simd) if i < count - 1 else 0
        if carried:
            adders, registers = _adder_tree(simd, 2, spill=True)
            spill += pipes * adders
            high += pipes * carried
            ff += pipes * (registers + carried)
        upper += accumulator_bits * (full if i else 0) + accumulator_bits * (rest > 1 and i > count - rest)
    lut = 0.97 * low + 1.5 * spill + 4.3 * high + 0.55 * upper + 2
    return Resources(lut=_up(lut), ff=ff, dsp=mvu_dsp(pe, simd, weight_bits, activation_bits, dsp_block, narrow))


@lru_cache(maxsize=_KEPT)
def replay(length: int, repeats: int, bits: int) -> Resources:
    """The matrix-vector unit's replay of its input (replay_buffer.sv): ``length`` words, ``repeats`` times."""
    if repeats == 1:
        return Resources(lut=clog2(length) + 1, ff=clog2(length) + 1)
    address = max(1, clog2(length))
    control = Resources(
        lut=_up(1.5 * address) + clog2(repeats) + 13, ff=3 * (address + 1) + clog2(length) + clog2(repeats) + 5
    )
    # The memory names no style: synthesis takes distributed RAM for shallow ones, block RAM else.
    return control + memory(1 << address, bits, "auto") + Resources(ff=bits)


@lru_cache(maxsize=_KEPT)
def weights(
    mw: int,
    mh: int,
    pe: int,
    simd: int,
    weight_bits: int,
    style: str,
    board: Board | None = None,
    writable: bool = False,
) -> Resources:
    """The weights' memory and stream (memstream.sv, mem_mode internal_decoupled).

    Args:
        style: one of STYLES; "auto" is tables up to 64 words deep or half a RAMB18, else block RAM. For "uniform" the
            bits that only pad to bytes are dropped, as Yosys drops them.
        board: checked for UltraRAM.
        writable: loaded at run time over AXI-Lite, as UltraRAM must be: it has no initial contents.
    """
    depth, bits = mw * mh // (pe * simd), padded(pe * simd * weight_bits)
    style = resolve_style(depth, bits, style)
    if style == "ultra":
        if board is not None and not board.uram:
            raise ValueError(f"{board.name} has no UltraRAM for weights")
        writable = True
    if style == "distributed" and not writable:
        store = Resources(lut=rom_tables(depth, bits))
    else:
        store = memory(depth, pe * simd * weight_bits if style == "uniform" else bits, style, not writable)
    address = max(1, clog2(depth))
    stream = Resources(lut=address + 12, ff=2 * address + 18 + bits)
    if style == "distributed":
        stream += Resources(ff=2 * bits)  # block RAM and UltraRAM absorb these two registers
    if writable:
        stream += Resources(lut=120 + bits, ff=140 + 3 * bits)
    return store + stream + shift_register(7, bits)


# ------------------------------------------------------------------------------------------- FINN's other RTL


def window(
    channels: int,
    simd: int,
    kernel: tuple[int, int],
    stride: int,
    height: int,
    width: int,
    bits: int,
    style: str = "auto",
    parallel: bool = False,
) -> Resources:
    """The sliding window (ConvolutionInputGenerator_rtl) over a padded frame of ``height`` x ``width`` pixels.

    The default style reads the window's words one by one out of a cyclic buffer; the parallel style shows all
    kernel pixels at a time (SIMD = channels) from registers, with a line buffer between the kernel's rows.

    Args:
        style: of the memory; "auto" as in :func:`resolve_style`.
    """
    rows, columns = kernel
    factor = channels // simd
    word = simd * bits
    depth = window_depth(channels, simd, kernel, stride, width, parallel)
    address, element = clog2(depth), clog2(height * width * factor)
    if not parallel:
        control = Resources(lut=17 * address + 5 * element + 45, ff=3 * address + 6 * element + 20)
        buffer = memory(depth, word, style)
        distributed = resolve_style(depth, word, style) == "distributed"
        return control + buffer + Resources(ff=word if distributed else 0)
    control = Resources(lut=_up(4 * element + 40), ff=_up(3 * element + 20))
    taps = Resources(ff=rows * columns * word)
    line = (width - columns) * factor
    if rows == 1 or line < 1:
        return control + taps
    buffers = Resources()
    for _ in range(rows - 1):
        buffers += memory(line, word, style) + Resources(lut=2 * clog2(line) + 4, ff=2 * clog2(line))
        if resolve_style(line, word, style) == "distributed":
            buffers += Resources(ff=word)  # block RAM has this register
    return control + taps + buffers


def window_depth(
    channels: int, simd: int, kernel: tuple[int, int], stride: int, width: int, parallel: bool = False
) -> int:
    """Words of the window's buffer (get_buffer_depth of ConvolutionInputGenerator_rtl), undilated."""
    rows, columns = kernel
    factor = channels // simd
    if parallel:
        return ((rows - 1) * width + columns - 1) * factor + 2
    least = ((rows - 1) * width + columns) * factor
    across = max(0, (stride - 1 - rows * columns) * factor)
    down = max(0, ((stride - 1) * width - rows * columns) * factor)
    return least + across + down


def pad(channels: int, simd: int, height: int, width: int, bits: int) -> Resources:
    """Zero padding (FMPadding_rtl): counters and two registers of a word; ``height``, ``width`` with the border."""
    word = padded(simd * bits)
    counters = clog2(height + 1) + clog2(width + 1) + clog2(channels // simd)
    return Resources(lut=word + counters // 2 + 13, ff=2 * word + counters + 3)


@lru_cache(maxsize=_KEPT)
def width_converter(in_bits: int, out_bits: int) -> Resources:
    """A change of word width (StreamingDataWidthConverter_rtl, vpc.sv); equal widths are wires, but for a handshake."""
    unit = math.gcd(in_bits, out_bits)
    ins, outs = in_bits // unit, out_bits // unit
    if ins == outs:
        return Resources(lut=1)
    places = ins + outs
    # Each bit of the buffer takes an input or its right neighbour; more inputs than one are rotated on the way.
    each = 1.0 if ins == 1 else 1.6 if (ins, outs) == (2, 1) else 2.1 if ins < 4 else 3.4 + ins / 4
    return Resources(lut=_up(each * in_bits + 2.7 * places + 5), ff=in_bits + out_bits + places + 10)


def _multiplexer(ways: int) -> float:
    """Tables of a multiplexer: 4 inputs a LUT6; F7 and F8 join four of them."""
    return 0 if ways < 2 else 0.5 if ways == 2 else -(-ways // 4) + (ways // 16)


def fifo_style(depth: int, bits: int, style: str) -> str:
    """What fifo.sv makes of a style: "shift" up to 33 words, then as asked; "auto" goes by depth and width."""
    if depth <= 33:
        return "shift"
    if style != "auto":
        return style
    if depth <= 64 and padded(bits) < 12:
        return "shift"
    if depth <= 257 or padded(bits) < 5:
        return "distributed"
    return "block" if depth <= 2028 else "ultra"


def fifo(depth: int, bits: int, style: str = "auto") -> Resources:
    """A FIFO (StreamingFIFO_rtl, fifo.sv) of ``depth`` words; ``bits`` are padded to bytes as FINN does.

    The padding lies in block RAM of style "block" and not of "uniform": Yosys drops bits that are always 0.

    "auto" takes UltraRAM past 2028 words, whether the chip has it or not: name a style for deep ones. What steers the
    memory is as finn-plus measured it in Vivado (util/resource_models.py).
    """
    word = padded(bits)
    chosen = fifo_style(depth, bits, style)
    count = clog2(depth + 1) + 1
    if chosen == "shift":
        places = depth - 1 if depth > 4 else 4
        return shift_register(places, word) + Resources(lut=5 * count - 7, ff=word + 2 * count)
    if chosen == "distributed":
        store = lutram_tables(1 << clog2(depth - 1), word)
        return store + Resources(lut=8 * count - 15, ff=word + 6 * count)
    low, high = fifo_spaces(depth, chosen == "ultra")
    is_block = chosen in ("block", "uniform")
    stored = bits if chosen == "uniform" else word
    blocks = memory(1 << low, stored, chosen).bram18 if is_block else 0
    # An enable for each few blocks, and the decoding of chained ones.
    steering = 60 + 2 * blocks // 5 + 3 * ((1 << low) // 2048) if is_block else 6 * count + 10
    control = Resources(lut=steering, ff=6 * count + 10)
    if high:
        control += _upper_memory(1 << high, word, stored, chosen) + Resources(lut=word // 2 + 18)
    if is_block:
        return control + Resources(bram18=blocks)
    return control + Resources(uram=uram_blocks(1 << low, word), ff=word) + shift_register(16, word)


def _upper_memory(depth: int, bits: int, stored: int, style: str) -> Resources:
    """Where Vivado puts the smaller of a FIFO's two memories, as finn-plus measured it (util/resource_models.py).

    Small ones become distributed RAM. Beside UltraRAM, what would take seven RAMB18 for each UltraRAM joins it.
    """
    if depth * depth * bits < 1 << 20:
        return lutram_tables(depth, bits)
    if style == "uniform":
        return Resources(bram18=uniform_bram18_blocks(depth, stored))
    blocks, ultras = bram18_blocks(depth, bits), uram_blocks(depth, bits)
    if style == "ultra" and (depth >= 4096 or blocks >= 7 * ultras):
        return Resources(uram=ultras)
    return Resources(bram18=blocks)


def fifo_spaces(depth: int, ultra: bool) -> tuple[int, int]:
    """Address bits of a FIFO's greater and smaller memory (INIT_ABITS of fifo.sv); 0: there is no smaller one."""
    least, queue = (12, 16) if ultra else (9, 0)
    needed = depth - queue - 1
    low = clog2(needed)
    if low > least:
        high = clog2(needed - (1 << (low - 1)))
        if high < low - 1:
            return low - 1, max(1, high)
    return low, 0


# ------------------------------------------------------------------------------------------------- our blocks


def _output_queue(bits: int) -> Resources:
    """output_queue.sv with 16 places: distributed RAM, an output register, counters."""
    return lutram_tables(16, bits) + Resources(lut=11, ff=bits + 15)


def requant(
    pe: int, channels: int, in_bits: int, bias_bits: int, shifts: int, out_bits: int, least_shift: int = 0
) -> Resources:
    """requant_shift.sv.

    Args:
        bias_bits: of bias plus half, signed.
        shifts: greatest less least shift, plus one: 1 where all channels have the same.
        least_shift: bits that every channel drops.
    """
    select = clog2(shifts)
    factor = channels // pe
    total = max(in_bits, bias_bits) + 1
    steps = (select + 1) // 2 if select > 2 else 1
    # After the step that shifts by 3 * 4**k at most, the window is still so many bits wider than the output.
    windows = [out_bits + 4**k - 1 for k in reversed(range(steps))]
    sticky = least_shift / 5 + 2 * max(0, total - least_shift - out_bits) / 5 + 4
    lane = total + (sum(windows) if select else 0) + out_bits + sticky
    flops = in_bits + bias_bits + 2 * select + total + sum(windows) + 6 * steps + out_bits
    constants = rom_tables(factor, pe * (select + bias_bits))
    control = Resources(lut=clog2(factor) + 3, ff=clog2(factor) + 3 + steps)
    return Resources(lut=_up(pe * lane) + constants, ff=pe * flops) + control + _output_queue(pe * out_bits)


def requant_light(
    pe: int,
    channels: int,
    in_bits: int,
    bias_bits: int,
    longest: int,
    out_bits: int,
    positions: int,
    *,
    metered: bool = True,
) -> Resources:
    """requant_light.sv: a requantisation with three banks of numbers for each channel, and what it sums of them.

    Args:
        bias_bits: of any light's bias, signed.
        longest: the greatest shift.
        positions: of a frame, which the sums must hold.
        metered: whether it sums at all, one channel a cycle.
    """
    factor, sums = channels // pe, max(in_bits, bias_bits) + 1
    select, steps = clog2(longest + 1), (clog2(longest + 1) + 1) // 2
    windows = sum(out_bits + 4**k - 1 for k in range(steps))
    lane = 4 * sums + windows + out_bits + 2 * (sums + 5 - out_bits) / 5 + 30
    table = lutram_tables(3 << clog2(factor), pe * (bias_bits + 5 + select))
    total = Resources(lut=_up(190 + pe * lane), ff=_up(213 + 11.6 * sums * pe)) + Resources(lutram=8 * pe) + table
    if metered:
        held = lutram_tables(channels, clog2(65025 * positions + 1) + clog2(255 * positions + 1))
        total += Resources(lut=280 + 8 * pe, lutram=6 * pe, ff=380) + held
    return total + _output_queue(pe * out_bits)


def light_port(stations: int, address_bits: int) -> Resources:
    """axilite_light.sv, the port of all stations: a comparison of addresses and a share of the answer for each."""
    return Resources(lut=_up(48 + stations * (16 + 0.2 * address_bits)), ff=109 + 3 * stations + 3 * address_bits)


def add(pe: int, bits: int) -> Resources:
    """add_clamp.sv: trunk plus branch of ``bits`` bits each, clamped to ``bits``."""
    return Resources(lut=2 * pe * bits + 5, ff=pe * (2 * bits + 2) + 2) + _output_queue(pe * bits)


def fork(bits: int, outputs: int = 2) -> Resources:
    """stream_fork.sv: a word of ``bits`` bits to several sinks."""
    return Resources(lut=bits + outputs + 6, ff=2 * bits + outputs + 2)


def window_centre(bits: int) -> Resources:
    """window_centre.sv: ``bits`` of an output word."""
    return Resources(lut=12, ff=bits + 10) + _output_queue(bits)


def trim_border(words: int, height: int, width: int, bits: int) -> Resources:
    """trim_border.sv: ``words`` of ``bits`` bits a pixel, in a frame of ``height`` x ``width``."""
    counters = clog2(words) + clog2(height) + clog2(width)
    return Resources(lut=_up(1.2 * counters), ff=counters + bits + 3) + _output_queue(bits)


def upsample(words: int, bits: int, style: str = "auto") -> Resources:
    """upsample.sv: ``words`` of ``bits`` bits in an input row; two rows are kept."""
    address = clog2(2 * words)
    registers = 2 if resolve_style(2 * words, bits, style) == "distributed" else 1  # block RAM has the first
    control = Resources(lut=4 * address + 28, ff=8 * address + registers * bits)
    return memory(2 * words, bits, style) + control + _output_queue(bits)


def tap_sum(pe: int, channels: int, taps: int, in_bits: int, out_bits: int) -> Resources:
    """tap_sum.sv: ``taps`` partial sums of ``pe`` channels a word, added along the row."""
    factor = channels // pe
    state = pe * (taps - 1) * out_bits
    adders = Resources(lut=state + 13, ff=pe * taps * in_bits + state + pe * out_bits + 24)
    store = lutram_tables(factor, state) if factor > 1 else Resources()
    if factor > 2:  # sums are registered before they are written
        store += Resources(ff=state + clog2(factor) + 1)
    return adders + store + _output_queue(pe * out_bits)


def pixel_shuffle(words: int, bits: int, style: str = "auto") -> Resources:
    """pixel_shuffle.sv: ``words`` of ``bits`` bits in an output row; a ring of a row and one of a little over half."""
    address = clog2(words)
    registers = 3 if resolve_style(words, bits, style) == "distributed" else 1  # block RAM has the first of both rings
    control = Resources(lut=6 * address + 38 + bits // 2, ff=8 * address + 20 + registers * bits)
    short = min(words, words // 2 + words // 16 + 8)  # two pixels more than half a row, of 16 pixels at least
    return memory(words, bits, style) + memory(short, bits, style) + control + _output_queue(bits)


def space_to_depth(words: int, bits: int, style: str = "auto") -> Resources:
    """space_to_depth.sv: ``words`` of ``bits`` bits in all rows of a block but the last."""
    address = clog2(words)
    registers = 3 if resolve_style(words, bits, style) == "distributed" else 2  # block RAM has the first
    control = Resources(lut=3 * address + bits + 14, ff=4 * address + 8 + registers * bits)
    return memory(words, bits, style) + control + _output_queue(bits)


def dma(in_bits: int, out_bits: int, *, wide: bool = False) -> Resources:
    """shell.sv: both engines for words of so many bits of the accelerator, 64 of memory, and the processor's port.

    ``wide``: addresses of 40 bits, as Zynq UltraScale+ has them, else of 32.
    """
    gears = (in_bits > 8) + (out_bits > 8)  # a word of one byte needs no shifts
    return Resources(
        lut=1280 + 90 * gears + 135 * wide,
        lutram=121 if wide else 133,
        ff=1377 + 160 * wide + in_bits + out_bits,
    )


def passing(design: Resources) -> Resources:
    """Tables that nextpnr adds to a design: they invert a signal, or pass it on into a carry chain.

    Fitted to the LUT sites of routed networks (``pleinair_hw/plan/routed.json``).
    """
    return Resources(lut=_up(0.1 * design.total_lut))


def interconnect() -> Resources:
    """Allowance for the two SmartConnects that stand beside the shell in Vivado, and cannot be synthesised here."""
    return Resources(lut=1540, lutram=167, ff=2690)
