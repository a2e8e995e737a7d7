"""What a build's page says: its sentences, and numbers as they stand in them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pleinair.page import Content, Markup, element, join, paragraph
from pleinair_hw.plan.resources import NAMES
from pleinair_hw.report.data import Filling, Report, StageFigures

#: FINN's operator names in the words of the page.
_KINDS = {
    "FMPadding": "pad",
    "ConvolutionInputGenerator": "window",
    "MVAU": "product",
    "TapSum": "tap sum",
    "RequantShift": "requantise",
    "RequantLight": "requantise",
    "SpaceToDepth": "blocks",
    "PixelShuffle": "shuffle",
    "UpsampleNearestNeighbour": "upsample",
    "DuplicateStreams": "fork",
    "WindowCentre": "centre",
    "TrimBorder": "trim",
    "AddClamp": "add",
    "StreamingDataWidthConverter": "width",
    "StreamingFIFO": "FIFO",
}
_HELD = {"MVAU": "weights", "ConvolutionInputGenerator": "rows"}
_STYLES = {"distributed": "LUT RAM", "block": "block RAM", "ultra": "UltraRAM"}

# -- numbers and names


def number(value: float) -> str:
    """Three significant places below a hundred, whole above, groups of three set apart."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def share(value: float | None) -> str:
    """A share in per cent, a decimal below ten; of what a board lacks there is none."""
    if value is None:
        return "none there"
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def count(kind: str, value: float) -> str:
    """So much of a kind of resource; block RAM in tiles of 36 Kib, which are two blocks of 18."""
    return f"{value / 2:,.1f}".removesuffix(".0") if kind == "bram" else f"{value:,.0f}"


def resource(kind: str) -> str:
    """A kind of resource, with its unit."""
    return f"{NAMES[kind]}, 36 Kib" if kind == "bram" else NAMES[kind]


def stage_kind(kind: str) -> str:
    """What a stage does, from FINN's name for it."""
    return _KINDS.get(kind, kind)


def held(kind: str) -> str:
    """What the memory of a stage holds, from FINN's name for the stage."""
    return _HELD.get(kind) or stage_kind(kind)


def memory_style(style: str) -> str:
    """What a memory is made of."""
    return _STYLES.get(style, style)


# -- sentences


def title(report: Report) -> str:
    """The page's title."""
    return f"{report.title}, {report.asked.bits} bits, on {report.board.title}"


def asked(report: Report) -> str:
    """What was asked for, and for which chip."""
    asked = report.asked
    wanted = "as fast as fits" if asked.fps is None else f"{number(asked.fps)} frames/s"
    (width, height), (wide, high) = asked.size, asked.input
    told = [
        f"Asked for: frames of {width} x {height}, {wanted}.",
        f"With a margin of {asked.margin} pixels the network paints {wide} x {high}.",
    ]
    if asked.writeable_weights:
        told.append("Weights can be changed at run time.")
    _, *_, last = [s for s in report.stages if s.kind != "StreamingFIFO"]
    if last.shape[:2] != (high, wide):
        told.append(f"Trimmed: {last.shape[1]} x {last.shape[0]} of these come out.")
    if asked.pumped:
        told.append("Matrix products run at twice the clock.")
    told.append(f"Part {report.board.part}, {number(report.clock_mhz)} MHz.")
    return " ".join(told)


def headlines(report: Report) -> list[tuple[str, str]]:
    """The figures that one came for, each with a few words."""
    rate, work, fullest = report.rate, report.work, report.rate.fullest
    return [
        (number(rate.fps), f"frames/s at {number(report.clock_mhz)} MHz, planned"),
        (f"{rate.interval:,}", "cycles between frames"),
        (f"{work.lanes_busy:.1%}", f"of {work.lanes:,} multiplier lanes busy"),
        (share(fullest.share), f"of the {resource(fullest.resource)}: fullest, {fullest.budget:.0%} may be used"),
    ]


def bar_label(kind: str, filling: Filling) -> str:
    """A resource's bar, for who cannot see it."""
    return f"{resource(kind)}: {share(filling.share)}, budget {filling.budget:.0%}"


def work(report: Report) -> Markup:
    """What a frame takes, on how many lanes, and what sets the rate."""
    work = report.work
    saved = 1 - work.macs_executed / work.macs_network
    text = f"A frame takes {number(work.macs_executed / 1e6)} million multiply-accumulates"
    if saved > 0:
        text += f" ({number(work.macs_network / 1e6)} million as the network is written; "
        text += f"merged phases save {saved:.0%})"
    text += f". On {work.lanes:,} lanes that is {work.ideal_cycles:,} cycles at the least; the plan takes "
    text += f"{report.rate.interval:,}. "
    return paragraph(text, *_binding(report))


def _binding(report: Report) -> tuple[Content, ...]:
    others = len(report.rate.binding_stages) - 1
    stage = element("b", report.setting)
    if not others:
        return "Stage ", stage, " sets the rate."
    return "Stage ", stage, f" and {others} as slow {'one sets' if others == 1 else 'ones set'} the rate."


def stage_note(stage: StageFigures) -> str:
    """What a pointer on a stage of the picture shows, a line for each fact."""
    r, memory = stage.resources, stage.memory
    height, width, channels = stage.shape
    lines = [
        f"{stage.name} ({stage.kind})",
        f"SIMD {stage.simd}, PE {stage.pe}, {width} x {height} x {channels}, {stage.stream_bits} bits a word",
        f"{stage.cycles:,} cycles, busy {share(stage.busy)}",
        f"{r['dsp']} DSP, {r['lut']:,} LUT, {r['ff']:,} FF, {count('bram', r['bram'])} BRAM, {r['uram']} URAM",
    ]
    if stage.kind == "StreamingFIFO":
        lines.append(f"{stage.depth:,} words deep")
    if memory is not None:
        lines.append(f"{memory.words:,} words of {memory.bits:,} bits, {memory.style}")
    return "\n".join(lines)


def measured(report: Report) -> Iterator[tuple[str, str, str]]:
    """What simulation gave: what it is, the figure, and the planned one where there is one."""
    m = report.measured
    if m is None:
        return
    yield "frames simulated", f"{m.frames:,}", ""
    yield "bytes that differ from the integer reference", f"{m.differing:,}", ""
    yield "latency: first word in to last word out, cycles", f"{m.latency:,}", ""
    yield "cycles simulated", f"{m.cycles:,}", ""
    yield "cycles simulated a second", f"{m.cycles_per_second:,}", ""
    if m.interval is not None:
        yield "cycles between frames", f"{m.interval:,}", f"{report.rate.interval:,}"
    if m.fps is not None:
        yield "frames/s at the planned clock", number(m.fps), number(report.rate.fps)
    if m.lanes_busy is not None:
        yield "multiplier lanes busy", f"{m.lanes_busy:.1%}", f"{report.work.lanes_busy:.1%}"


def routed(report: Report) -> Iterator[tuple[str, str, str]]:
    """What place and route gave: what it is, the figure, and the planned one where there is one."""
    r = report.routed
    if r is None:
        return
    yield "clock, MHz", number(r.clock_mhz), number(report.clock_mhz)
    yield "frames/s at that clock", number(r.fps), number(report.rate.fps)
    yield f"highest clock as routed (seed {r.seed}), MHz", number(r.fmax_mhz), ""
    yield "kept below it, per cent", number(r.margin), ""
    for kind, used in r.resources.items():
        yield resource(kind), count(kind, used), count(kind, report.resources[kind].used)
    yield "features of the chip that the bitstream sets", f"{r.features:,}", ""


def untimed(report: Report) -> str:
    """Sentences on what the router's clock leaves out; empty if nothing."""
    if report.routed is None:
        return ""
    sentences = []
    if report.routed.untimed:
        names = ", ".join(report.routed.untimed)
        sentences.append(f"Nobody has figures for the delays of {names}: paths through them do not count.")
    if count := report.routed.hold_misses:
        sentences.append(
            f"By the placer's figures {count:,} hold {'time is' if count == 1 else 'times are'} missed. A slower clock "
            "does not mend that; another seed may (--seeds)."
        )
    return " ".join(sentences)


BUDGETS = "The upright mark is the budget: the share that a plan may fill."
FINN = "FINN's own estimates stand at the right, for comparison; no LUT, or another DSP count, is as FINN gives it."
LEGEND = (
    "A row for each convolution, in order; the pixels enter above and the painting leaves below. A box is a stage, "
    "filled up to the share of the interval in which it is busy (products of matrices in orange); it is lower where "
    "the frame is smaller, as the frame at the left of each row is. Numbers on the lines are bits a word. Wedges "
    "change a word's width, barred boxes are FIFOs; blue lines carry what a residual block adds. Red frames mark the "
    "stages that set the rate."
)


def sources() -> Markup:
    """Where the figures come from."""

    def b(word: str) -> Markup:
        return element("b", word)

    return join(
        [
            paragraph(
                "Everything on this page is planned, but for what stands under “Measured in simulation”; nothing is "
                "from Vivado."
            ),
            paragraph(
                b("Cycles"),
                " of FINN's stages are FINN's own expectation of its RTL; our blocks pass a word a cycle. The slowest "
                "stage sets the interval; what filling the pipeline takes shows in simulation.",
            ),
            paragraph(
                b("DSPs"),
                " follow from the matrix-vector unit's RTL: a DSP computes several products of narrow operands at a "
                "time, the lanes. ",
                b("Lanes busy"),
                " is the share of them that does a useful product, over the interval. ",
                b("Block RAM"),
                " and ",
                b("UltraRAM"),
                " follow from words, widths and the data sheets' aspects.",
            ),
            paragraph(
                b("LUTs"),
                " and ",
                b("flip-flops"),
                " are formulas that follow the RTL's structure, with coefficients fitted to open synthesis (Yosys); "
                "they are rather high than low. The shell's DMA is an allowance. Budgets leave room for routing.",
            ),
        ],
        "\n",
    )
