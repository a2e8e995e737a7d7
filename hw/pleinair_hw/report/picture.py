"""The pipeline as a picture: SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pleinair.page import Colour, Content, Markup, element
from pleinair_hw.report.data import ON_STREAMS, Report, StageFigures
from pleinair_hw.report.words import share, stage_kind, stage_note

COLOURS = (Colour("work", "#f3d3ab", "#67481f"), Colour("bar", "#4a7fb5", "#6ea3da"))
RULES = """
svg text { fill: var(--ink); font-size: 10px; }
svg .l { font-size: 11.5px; font-weight: 600; }
svg .s { fill: var(--soft); font-size: 9px; }
svg .bits { fill: var(--soft); font-size: 8.5px; }
svg .wire { fill: none; stroke: var(--soft); stroke-width: 1; }
svg .skip { fill: none; stroke: var(--bar); stroke-width: 1.4; }
svg .box, svg .frame { fill: var(--box); stroke: var(--soft); stroke-width: .8; }
svg .busy { fill: var(--fill); }
svg .MVAU .busy { fill: var(--work); }
svg .edge { fill: none; }
svg .binds .box { stroke: var(--mark); stroke-width: 2.2; }
svg .mark { fill: var(--mark); font-weight: 600; }
svg .head { fill: var(--soft); }
"""
#: Columns of the picture. A kind that is not named stands behind the one before it.
_COLUMNS = (
    ("SpaceToDepth", "DuplicateStreams", "UpsampleNearestNeighbour"),
    ("FMPadding",),
    ("ConvolutionInputGenerator",),
    ("MVAU",),
    ("TapSum",),
    ("RequantShift", "RequantLight"),
    ("PixelShuffle", "AddClamp"),
)
#: In units of the picture: its width, the rows' names, the lane of skips at the right, between boxes, a box, rows.
_WIDTH, _LEFT, _RAIL, _GAP, _TALL, _BETWEEN = 1232, 138, 76, 56, 46, 36

Point = tuple[float, float]


def pipeline_svg(report: Report) -> Markup:
    """The stages as a picture: well-formed SVG, with every stage in a group that has its name in ``data-stage``."""
    return _Picture(report).draw()


# -- shapes


def _px(value: float) -> str:
    return f"{value:.1f}"


def _text(x: float, y: float, text: Content, kind: str | None = None, anchor: str = "start") -> Markup:
    return element("text", text, x=_px(x), y=_px(y), text_anchor=anchor, class_=kind)


def _rect(kind: str, x: float, y: float, width: float, height: float, *, round_: int | None = None) -> Markup:
    return element("rect", class_=kind, x=_px(x), y=_px(y), width=_px(width), height=_px(height), rx=round_)


def _line(points: Sequence[Point], kind: str = "wire") -> list[Markup]:
    """A line of horizontal and vertical runs, its corners rounded, and its arrow."""
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        steps = []
        for end in (before, after):
            far = math.dist(end, at)
            by = min(6.0, far / 2) / far if far else 0.0
            steps.append((at[0] + (end[0] - at[0]) * by, at[1] + (end[1] - at[1]) * by))
        (x, y), (u, v) = steps
        path.append(f"L{x:.1f} {y:.1f}Q{at[0]:.1f} {at[1]:.1f} {u:.1f} {v:.1f}")
    path.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    (a, b), (x, y) = points[-2], points[-1]
    wings = "l-5 -2.6v5.2z" if abs(x - a) > abs(y - b) else "l-2.6 -5h5.2z"
    return [
        element("path", class_=kind, d="".join(path)),
        element("path", class_="head", d=f"M{x:.1f} {y:.1f}{wings}"),
    ]


def _fifo(x: float, y: float) -> list[Markup]:
    bars = "".join(f"M{x + k:.1f} {y - 5:.1f}v10" for k in (-2.5, 0, 2.5))
    return [_rect("box", x - 6, y - 5, 12, 10), element("path", class_="wire", d=bars)]


def _wedge(s: StageFigures, x: float, y: float) -> list[Markup]:
    """A width converter's wedge, wide where its words are; it fills from its far end."""
    a, b = (3, 8) if s.pe > s.simd else (8, 3)
    start, end = x - 6, x + 6
    shape = f"M{start:.1f} {y - a}L{end:.1f} {y - b}V{y + b}L{start:.1f} {y + a}z"
    full = min(1.0, s.busy)
    edge, cut = end - 12 * full, b + (a - b) * full
    filled = f"M{edge:.1f} {y - cut:.1f}L{end:.1f} {y - b}V{y + b}L{edge:.1f} {y + cut:.1f}z"
    return [
        element("path", class_="box", d=shape),
        element("path", class_="busy", d=filled),
        element("path", class_="box edge", d=shape),
    ]


# -- the picture


class _Picture:
    """Lays the stages out in rows, a row for each convolution, and draws them."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.stages = {s.name: s for s in report.stages}
        self.solid = [s for s in report.stages if s.kind not in ON_STREAMS]
        self.rows = list(dict.fromkeys(s.layer for s in self.solid))
        self.row = {s.name: self.rows.index(s.layer) for s in self.solid}
        self.scale_height = max(s.shape[0] for s in self.solid)
        self.scale_width = max(s.shape[1] for s in self.solid)
        used = [kinds for kinds in _COLUMNS if any(s.kind in kinds for s in self.solid)]
        self.column: dict[str, int] = {}
        for layer in self.rows:
            at = -1
            for s in (s for s in self.solid if s.layer == layer):
                own = next((i for i, kinds in enumerate(used) if s.kind in kinds), at + 1)
                at = max(own, at + 1)
                self.column[s.name] = at
        self.pitch = (_WIDTH - _LEFT - _RAIL) / (max(self.column.values()) + 1)
        self.box_width = self.pitch - _GAP
        self.parts: list[Markup] = []

    def draw(self) -> Markup:
        """The picture; what is drawn later lies above."""
        for row in range(len(self.rows)):
            self.label(row)
        for s in self.solid:
            for number in range(max(1, len(s.reads))):
                source, between = self.chain(s, number)
                if source is not None and number == 0 and len(s.reads) > 1:
                    self.skip(s, source, between)
                else:
                    self.stream(s, source, between)
        self.leave()
        for s in self.solid:
            self.stage(s)
        self.mark()
        high = self.top(len(self.rows)) - _BETWEEN + 20
        return element(
            "svg",
            *self.parts,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {_WIDTH} {high:.0f}",
            role="img",
            aria_label="The pipeline, stage by stage",
        )

    # places

    def top(self, row: int) -> float:
        return 30 + row * (_TALL + _BETWEEN)

    def middle(self, row: int) -> float:
        return self.top(row) + _TALL / 2

    def left(self, name: str) -> float:
        return _LEFT + _GAP + self.column[name] * self.pitch

    def height(self, name: str) -> float:
        halvings = math.log2(max(1.0, self.scale_width / self.stages[name].shape[1]))
        return _TALL - 8 * min(2, round(halvings))

    # stages

    def group(self, s: StageFigures, shapes: Iterable[Markup]) -> None:
        """A stage's shapes, with what a pointer shows."""
        kind = f"{s.kind} binds" if s.name in self.report.rate.binding_stages else s.kind
        self.parts.append(element("g", element("title", stage_note(s)), *shapes, class_=kind, data_stage=s.name))

    def box(self, s: StageFigures, x: float, y: float, width: float, height: float, lines: Sequence[str]) -> None:
        full = height * min(1.0, s.busy)
        shapes = [
            _rect("box", x, y, width, height, round_=2),
            _rect("busy", x, y + height - full, width, full, round_=2),
            _rect("box edge", x, y, width, height, round_=2),
        ]
        for number, line in enumerate(lines):
            place = y + height / 2 + 3.5 + (number - (len(lines) - 1) / 2) * 12
            shapes.append(_text(x + width / 2, place, line, "s" if number else None, "middle"))
        self.group(s, shapes)

    def stage(self, s: StageFigures) -> None:
        lanes = f"{s.simd}x{s.pe}" if s.simd and s.pe else f"x{s.simd or s.pe}"
        second = share(s.busy) + (f" · {s.resources['dsp']} DSP" if s.resources["dsp"] else "")
        height = self.height(s.name)
        y = self.middle(self.row[s.name]) - height / 2
        self.box(s, self.left(s.name), y, self.box_width, height, [f"{stage_kind(s.kind)} {lanes}", second])

    def glyph(self, s: StageFigures, x: float, y: float) -> None:
        """A stage on a stream: a width converter or a FIFO."""
        self.group(s, _fifo(x, y) if s.kind == "StreamingFIFO" else _wedge(s, x, y))

    def label(self, row: int) -> None:
        """A row's name, and its frame to scale."""
        name = self.rows[row]
        height, width, _ = next(s.shape for s in reversed(self.solid) if s.layer == name)
        ratio = min(44 / self.scale_width, 40 / self.scale_height)
        w, h, y = width * ratio, height * ratio, self.middle(row)
        form = next((c.form for c in self.report.convolutions if c.name == name), "")
        self.parts += [
            _rect("frame", 22 - w / 2, y - h / 2, w, h, round_=1),
            _text(50, y - 9, name if len(name) <= 13 else name[:12] + "…", "l"),
            _text(50, y + 4, form, "s"),
            _text(50, y + 16, f"{width} x {height}", "s"),
        ]

    def mark(self) -> None:
        """Words at the stage that sets the rate."""
        name = self.report.setting
        if name in self.row:
            x = self.left(name) + self.box_width / 2
            y = self.middle(self.row[name]) - self.height(name) / 2 - 3.5
            self.parts.append(_text(x, y, "sets the rate", "mark", "middle"))

    # streams

    def chain(self, consumer: StageFigures, number: int) -> tuple[str | None, list[StageFigures]]:
        """The solid stage that an input comes from (None: from outside) and the stages between, in order."""
        between: list[StageFigures] = []
        name = consumer.reads[number] if consumer.reads else None
        while name is not None and self.stages[name].kind in ON_STREAMS:
            s = self.stages[name]
            between.insert(0, s)
            name = s.reads[0] if s.reads else None
        return name, between

    def stream(self, consumer: StageFigures, source: str | None, between: Sequence[StageFigures]) -> None:
        """From the stage before, from the end of the row above, or from outside."""
        x, row = self.left(consumer.name), self.row[consumer.name]
        y = self.middle(row)
        if source is None:
            self.parts.append(_text(_LEFT + 4, self.top(0) - 12, "pixels in", "s"))
            self.parts += _line([(_LEFT + 8, self.top(0) - 8), (_LEFT + 8, y), (x, y)])
        else:
            end, above = self.left(source) + self.box_width, self.middle(self.row[source])
            beside = self.row[source] == row
            if beside:
                self.parts += _line([(end, y), (x, y)])
            else:
                turn, lane = _LEFT + 8, self.top(row) - _BETWEEN + 12
                self.parts += _line(
                    [(end, above), (end + 10, above), (end + 10, lane), (turn, lane), (turn, y), (x, y)]
                )
            rise = 9 if between and (beside or end == x - _GAP) else 4
            self.parts.append(_text(end + 3, above - rise, self.stages[source].stream_bits, "bits"))
        if between:
            room = _GAP / (len(between) + 1)
            for number, s in enumerate(between):
                self.glyph(s, x - _GAP + room * (number + 1) - 4, y)
            self.parts.append(_text(x - 4, y + 15, between[-1].stream_bits, "bits", "end"))

    def skip(self, consumer: StageFigures, source: str, between: Sequence[StageFigures]) -> None:
        """Past a residual block's body: over the rows' right edge, or above the row where the body has but one."""
        first, last = self.row[source], self.row[consumer.name]
        x, end = self.left(source) + self.box_width / 2, self.left(consumer.name) + self.box_width / 2
        out, into = self.top(first) - 9, self.top(last) - 9
        rail = _WIDTH - _RAIL / 2
        start = (x, self.middle(first) - self.height(source) / 2)
        stop = (end, self.middle(last) - self.height(consumer.name) / 2)
        around = [(end, out)] if first == last else [(rail, out), (rail, into), (end, into)]
        self.parts += _line([start, (x, out), *around, stop], "skip")
        self.parts.append(_text(x + 5, out - 3, f"{self.stages[source].stream_bits:,}", "bits"))
        for number, s in enumerate(between):
            if s.kind == "StreamingFIFO" and first != last:
                lines = ["FIFO", f"{s.depth:,}x{s.stream_bits}"]
                self.box(s, rail - _RAIL / 2 + 4, (out + into) / 2 - 17, _RAIL - 8, 34, lines)
            else:
                self.glyph(s, rail - _RAIL - 20 * (len(between) - number), into)

    def leave(self) -> None:
        """The stream behind the last stage."""
        last = self.solid[-1]
        end, y = self.left(last.name) + self.box_width, self.middle(self.row[last.name])
        read = {name for s in self.report.stages for name in s.reads}
        behind = [s for s in self.report.stages if s.kind in ON_STREAMS and s.name not in read]
        self.parts += _line([(end, y), (end + _GAP, y)])
        for number, s in enumerate(behind):
            self.glyph(s, end + _GAP / (len(behind) + 1) * (number + 1), y)
        self.parts.append(_text(end + 3, y - 4, last.stream_bits, "bits"))
        self.parts.append(_text(end + _GAP + 4, y + 3, "painting out", "s"))
