"""The report of a comparison: ``report.json`` and ``report.html``, which holds its plots and needs nothing else.

The page is drawn for a phone's width first. Plots are SVG in the page and take their colours from its style sheet.
Names come from cards and from files of other machines; :mod:`pleinair.page` escapes them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pleinair import page as html
from pleinair.durable import write_file
from pleinair.errors import OptionError, OutputError
from pleinair.measuring.comparison_rows import (
    BASE,
    EMULATED,
    JOHNSON,
    MEASURED,
    REFERENCE,
    Comparison,
    Quality,
    Row,
    as_json,
    thread_name,
    width_name,
)
from pleinair.network.floating import FLOAT_BITS
from pleinair.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

JSON_FILE, HTML_FILE = "report.json", "report.html"
#: Inches and points: text that can be read where a plot is as narrow as a phone, and is not huge on a desk.
_WIDTH = 4.4
_FONT = 8.8
#: What matplotlib draws in, and the style sheet's names of it: light and dark are the reader's choice.
_INK, _SOFT, _LINE, _PAPER = "#000001", "#000002", "#000003", "#000004"
_BITS = {4: "#000005", 8: "#000006", 16: "#000007", FLOAT_BITS: "#000008"}
_NAMES = {
    _INK: "ink",
    _SOFT: "soft",
    _LINE: "line",
    _PAPER: "paper",
    **{colour: f"b{bits}" for bits, colour in _BITS.items()},
}
_MARKERS = "osD^vP*Xph<>"


def require_matplotlib() -> None:
    """Raise OptionError unless plots can be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise OptionError(f"compare needs {error.name}: pip install '.[report]' in a checkout of pleinair") from error


def prepare_folder(out: Path) -> None:
    """Make the report's folder unless it is there. Raises OutputError when files could not be put into it."""
    try:
        out.mkdir(exist_ok=True)
        write_file(out / f".{HTML_FILE}.try", b"", durable=False)
        (out / f".{HTML_FILE}.try").unlink()
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror}", option="out") from error


def write_report(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Write both files into the folder ``out``, each whole or not at all; their paths. Raises OutputError."""
    texts = {
        JSON_FILE: json.dumps(as_json(comparison), indent=1, allow_nan=False) + "\n",
        HTML_FILE: html_page(comparison),
    }
    for name, text in texts.items():
        try:
            write_file(out / name, text.encode("utf-8"), durable=False)
        except OSError as error:
            raise OutputError(f"{out / name}: cannot be written ({error.strerror})") from error
    return out / JSON_FILE, out / HTML_FILE


# -- figures as text


def rate(value: float) -> str:
    """A number to three digits: 0.123, 1.23, 12.3, 123, 1,234."""
    if abs(value) < 100:
        value = float(f"{value:.3g}")
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 100 else 0
    return f"{value:,.{min(digits, 6)}f}"


def _rate(value: float | None) -> str:
    return "" if value is None else rate(value)


def _times(value: float | None) -> str:
    return "" if value is None else f"{rate(value)}x"


def _ms(row: Row) -> str:
    if row.ms is None:
        return ""
    if row.low_ms is None or row.high_ms is None:
        return rate(row.ms)
    return f"{rate(row.ms)} ({rate(row.low_ms)} to {rate(row.high_ms)})"


def _energy(row: Row) -> str:
    if row.energy is None:
        return "not measured" if row.kind == "cpu" and row.how == MEASURED else "not stated"
    bound = "" if row.energy.how == MEASURED else "at most "
    unit = f"{rate(row.energy.joules * 1e3)} mJ" if row.energy.joules < 0.1 else f"{rate(row.energy.joules)} J"
    return f"{bound}{unit}, {row.energy.how}"


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


@dataclass(frozen=True)
class Column:
    """A column of the table: heading, what it says, and a row's text in it (empty where unknown)."""

    heading: str
    meaning: str
    text: Callable[[Row, Comparison], str]
    left: bool = False


def quality_of(row: Row, comparison: Comparison) -> Quality | None:
    """What is known of the paintings: a width of a style paints the same everywhere, Johnson's weights are random."""
    own = row.style == comparison.style and not row.backend.startswith(JOHNSON)
    return comparison.quality.get(row.bits) if own else None


def _quality(name: str, form: str) -> Callable[[Row, Comparison], str]:
    def text(row: Row, comparison: Comparison) -> str:
        found = quality_of(row, comparison)
        return "" if found is None else _optional(getattr(found, name), form)

    return text


COLUMNS = (
    Column("backend", "what paints", lambda r, _: r.backend, left=True),
    Column("bits", "of weights and activations", lambda r, _: width_name(r.bits), left=True),
    Column("how", "how the speed was come by", lambda r, _: r.how, left=True),
    Column("threads", "that paint", lambda r, _: _optional(r.threads, "d")),
    Column("frames/s", "the median's", lambda r, _: "does not fit" if r.fps is None else rate(r.fps)),
    Column("ms a frame", "median (fastest to slowest round)", lambda r, _: _ms(r)),
    Column("Mpx/s", "megapixels of visible frame a second", lambda r, _: _rate(r.megapixels)),
    Column(
        "to Johnson",
        "how many times as fast as Johnson's network in PyTorch eager, with as many threads",
        lambda r, _: _times(r.speed_johnson),
    ),
    Column(
        "to 8-bit CPU",
        "how many times as fast as the 8-bit network on this machine's default engine",
        lambda r, _: _times(r.speed_8bit),
    ),
    Column(
        "energy a frame",
        "measured, or the most that the board's power supply could give (stated)",
        lambda r, _: _energy(r),
    ),
    Column("loss", "content and style loss on photos that training never saw", _quality("loss", ",.0f")),
    Column("to float", "that as a multiple of the float network's", _quality("ratio", ".3f")),
    Column("SSIM", "structural similarity to the float network's paintings", _quality("ssim", ".3f")),
    Column("flicker", "grey levels between frames where nothing moves", _quality("flicker", ".2f")),
    Column("MAC/px", "multiply-accumulates a pixel", lambda r, _: _optional(r.macs_per_pixel, ",.0f")),
    Column(
        "kB",
        "size of the network's file, of Johnson's its parameters",
        lambda r, _: "" if r.bytes is None else f"{r.bytes / 1e3:,.0f}",
    ),
    Column("DSP", "of the plan", lambda r, _: _resource(r, "dsp")),
    Column("LUT", "of the plan", lambda r, _: _resource(r, "lut")),
    Column("BRAM", "blocks of 36 Kib, of the plan", lambda r, _: _resource(r, "bram36")),
    Column("URAM", "of the plan", lambda r, _: _resource(r, "uram")),
    Column("remarks", "engine, frame size where it is another, what binds", lambda r, c: _remarks(r, c), left=True),
)


def _resource(row: Row, kind: str) -> str:
    if row.resources is None:
        return ""
    return f"{row.resources[kind]:,.1f}".removesuffix(".0")


def _remarks(row: Row, comparison: Comparison) -> str:
    parts = [row.engine] if row.engine != "accelerator" else []
    if row.how == EMULATED:
        parts.insert(0, f"on {row.where}, which says nothing of a board's speed")
    elif row.kind == "board":
        parts.insert(0, row.where.removeprefix(f"{row.backend}, "))
    if row.style != comparison.style:
        parts.append(f"style {row.style}")
    if row.size != comparison.size:
        parts.append(f"frames of {row.size[0]}x{row.size[1]}")
    if row.note:
        parts.append(row.note)
    return "; ".join(parts)


_KINDS = ("cpu", "other", "board")


def ordered(comparison: Comparison) -> list[Row]:
    """PyTorch, float, engines, reference, boards; within a backend by bits, then threads."""
    backends = list(dict.fromkeys(row.backend for row in comparison.rows))
    front = [b for b in backends if "PyTorch" in b]
    backends = front + [b for b in backends if b not in front]
    return sorted(
        comparison.rows,
        key=lambda r: (
            _KINDS.index(r.kind),
            backends.index(r.backend),
            -r.bits,
            r.threads or 0,
            r.how == EMULATED,
            r.how,
        ),
    )


def shown(comparison: Comparison) -> list[Row]:
    """The rows that plots may show: of the frame's size, and not of a machine that stood in for a board."""
    return [r for r in ordered(comparison) if r.fps is not None and r.how != EMULATED and r.size == comparison.size]


# -- plots


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _dress(axes: Axes, grid: str) -> None:
    """Colours of the page, no frame, lines across the given axis."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_facecolor("none")
    axes.tick_params(colors=_SOFT, labelcolor=_INK, labelsize=_FONT, length=0)
    axes.grid(axis=grid, color=_LINE, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _svg(figure: Figure, name: str) -> str:
    """The figure as an element of the page; ``name`` keeps its ids apart from those of the others."""
    from matplotlib import rc_context

    file = BytesIO()
    figure.patch.set_visible(False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": f"plot-{name}"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"#00000[1-8]\b", lambda match: f"var(--{_NAMES[match[0]]})", text)
    # Ids are unique within a figure alone.
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)


def _log_ticks(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [10.0**n for n in range(first, last + 1)]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value < 1 else f"{value:,.0f}")


def _solid(row: Row) -> bool:
    """Whether the machine itself ran: drawn filled, else in outline."""
    return row.how == MEASURED


def _bar_name(row: Row) -> str:
    if row.threads:
        return f"{width_name(row.bits)}, {thread_name(row.threads)}"
    return f"{width_name(row.bits)}, {row.how}"


def speed_plot(comparison: Comparison) -> str:
    """Frames a second by backend and bits, on a logarithmic scale."""
    rows = shown(comparison)
    places: list[tuple[float, Row]] = []
    headings: list[tuple[float, str]] = []
    y = 0.0
    for i, row in enumerate(rows):
        if i == 0 or rows[i - 1].backend != row.backend:
            y += 0.45
            headings.append((y, row.backend))
            y += 1.0
        places.append((y, row))
        y += 0.95
    figure = _figure(0.35 + 0.185 * y)
    axes = figure.subplots()
    rates = [row.fps for row in rows if row.fps]
    _dress(axes, "x")
    _log_ticks(axes, min(rates) / 1.6, max(rates) * 2.6)
    axes.set_ylim(y, 0)
    left = axes.get_xlim()[0]
    for position, row in places:
        assert row.fps is not None
        colour = _BITS[row.bits]
        axes.barh(
            position,
            row.fps - left,
            0.72,
            left,
            color=colour if _solid(row) else "none",
            edgecolor=colour,
            linewidth=1.1,
        )
        axes.annotate(
            rate(row.fps),
            (row.fps, position),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
            fontsize=_FONT,
        )
    axes.set_yticks([position for position, _ in places], [_bar_name(row) for _, row in places])
    for position, name in headings:
        axes.annotate(
            one_line(name),
            (0, position),
            (-2, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            color=_INK,
            fontsize=_FONT + 0.5,
            fontweight="bold",
            va="center",
            parse_math=False,
        )
    axes.set_xlabel("frames a second", color=_SOFT, fontsize=_FONT)
    return _svg(figure, "speed")


def quality_plot(comparison: Comparison) -> str | None:
    """Loss against frames a second; None unless an evaluation told of two widths."""
    rows = [r for r in shown(comparison) if quality_of(r, comparison) is not None and r.backend != REFERENCE]
    if len({r.bits for r in rows}) < 2:
        return None
    figure = _figure(3.9)
    axes = figure.subplots()
    _dress(axes, "both")
    # Most threads alone: one thread's points would say the same again, further left.
    most = {(r.backend, r.bits, r.how): max((s.threads or 0) for s in rows if s.backend == r.backend) for r in rows}
    rows = [r for r in rows if (r.threads or 0) == most[r.backend, r.bits, r.how]]
    backends = list(dict.fromkeys((r.backend, r.how) for r in rows))
    for number, (backend, how) in enumerate(backends):
        own = [r for r in rows if (r.backend, r.how) == (backend, how)]
        marker = _MARKERS[number % len(_MARKERS)]
        label = one_line(backend if how == MEASURED else f"{backend}, {how}")
        axes.plot([], [], marker, color=_INK if how == MEASURED else "none", markeredgecolor=_INK, label=label)
        for row in own:
            assert row.fps is not None
            colour = _BITS[row.bits]
            axes.plot(
                row.fps,
                comparison.quality[row.bits].loss,
                marker,
                markersize=8,
                markeredgewidth=1.4,
                color=colour if _solid(row) else "none",
                markeredgecolor=colour,
            )
    rates = [r.fps for r in rows if r.fps]
    _log_ticks(axes, min(rates) / 1.6, max(rates) * 1.6)
    losses = [comparison.quality[r.bits].loss for r in rows]
    room = 0.12 * (max(losses) - min(losses)) or 0.05 * max(losses)
    axes.set_ylim(min(losses) - room, max(losses) + 1.5 * room)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1e3:,.0f}k")
    # Beside the points, those of nearly equal losses one above the other.
    place = -math.inf
    for bits in sorted({r.bits for r in rows}, key=lambda b: comparison.quality[b].loss):
        place = max(place + 0.6 * room, comparison.quality[bits].loss)
        axes.annotate(
            width_name(bits),
            (1, place),
            (5, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=_BITS[bits],
            fontsize=_FONT,
            fontweight="bold",
        )
    axes.set_xlabel("frames a second", color=_SOFT, fontsize=_FONT)
    axes.set_ylabel("content + style loss, lower is better", color=_SOFT, fontsize=_FONT)
    legend = figure.legend(
        loc="outside lower left", ncols=2, frameon=False, fontsize=_FONT, labelcolor=_INK, handletextpad=0.2
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return _svg(figure, "quality")


@dataclass(frozen=True)
class _Measure:
    """A panel of the price of each bit: a field of :class:`pleinair.measuring.comparison_rows.BitPrice`."""

    field: str
    title: str
    text: Callable[[float], str]


def _measures(comparison: Comparison) -> list[_Measure]:
    price = comparison.price
    at = "" if price.fps is None else f"\n{price.board} at {rate(price.fps)} frames/s"
    cpu = min((r.threads or 0 for r in comparison.rows if r.kind == "cpu" and r.threads), default=1)
    return [
        m
        for m in (
            _Measure("cpu_ms", f"time a frame\n{BASE}, {thread_name(cpu)}", lambda v: f"{rate(v)} ms"),
            _Measure("board_ms", f"time a frame\n{price.board}, the fastest plan", lambda v: f"{rate(v)} ms"),
            _Measure("bytes", "size\nof the network's file", lambda v: f"{v / 1e3:,.0f} kB"),
            _Measure("loss", "content + style loss\non held-out photos", lambda v: f"{v / 1e3:,.0f}k"),
            _Measure("dsp", f"DSPs{at}", lambda v: f"{v:,.0f}"),
            _Measure("lut", f"LUTs{at}", lambda v: f"{v / 1e3:,.0f}k"),
            _Measure("memory_bits", f"memory, BRAM and UltraRAM{at}", lambda v: f"{v / (1 << 20):,.1f} Mib"),
        )
        if sum(getattr(p, m.field) is not None for p in price.by_bits.values()) > 1
    ]


def price_plot(comparison: Comparison) -> str | None:
    """What each bit costs: a panel a measure; None where there is nothing to compare."""
    measures, by_bits = _measures(comparison), comparison.price.by_bits
    if not measures:
        return None
    lines = -(-len(measures) // 2)
    figure = _figure(1.4 * lines)
    panels = figure.subplots(lines, 2, squeeze=False)
    for axes, measure in zip(panels.flat, measures, strict=False):
        _dress(axes, "y")
        axes.grid(False)
        values = {b: getattr(p, measure.field) for b, p in sorted(by_bits.items())}
        known = {b: v for b, v in values.items() if v is not None}
        for place, bits in enumerate(sorted(by_bits)):
            if bits not in known:
                axes.annotate(
                    "none", (place, 0), (0, 3), textcoords="offset points", ha="center", color=_SOFT, fontsize=_FONT
                )
                continue
            value = known[bits]
            axes.bar(place, value, 0.62, color=_BITS[bits])
            text = measure.text(value)
            if 8 in known and bits != 8 and known[8]:
                text += f"\n{value / known[8]:.2f}x"
            axes.annotate(
                text,
                (place, value),
                (0, 2),
                textcoords="offset points",
                ha="center",
                color=_INK,
                fontsize=_FONT - 1,
                linespacing=1.05,
            )
        axes.set_xlim(-0.6, len(by_bits) - 0.4)
        axes.set_ylim(0, 1.42 * max(known.values()))
        axes.set_yticks([])
        axes.set_xticks(range(len(by_bits)), [width_name(b) for b in sorted(by_bits)])
        title, _, about = measure.title.partition("\n")
        axes.set_title(title, loc="left", color=_INK, fontsize=_FONT + 0.5, fontweight="bold", pad=13)
        axes.annotate(
            about,
            (0, 1),
            (0, 3),
            xycoords="axes fraction",
            textcoords="offset points",
            color=_SOFT,
            fontsize=_FONT - 1,
            parse_math=False,
        )
    for axes in panels.flat[len(measures) :]:
        axes.set_visible(False)
    return _svg(figure, "price")


# -- the page

_COLOURS = (
    html.Colour("b4", "#c8641b", "#e9944f"),
    html.Colour("b8", "#2168b3", "#64a3e3"),
    html.Colour("b16", "#2c8458", "#62b98b"),
    html.Colour("b32", "#7a828b", "#a2abb5"),
)
_RULES = """
.plots { display: grid; gap: 0 3.5rem; align-items: start; }
@media (min-width: 62rem) { .plots { grid-template-columns: 1fr 1fr; } }
figure { margin: .4rem 0 0; max-width: 34rem; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif !important; }
th { white-space: nowrap; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); min-width: 8.5rem;
  max-width: 13rem; white-space: normal; }
td.l:last-child { white-space: normal; min-width: 22rem; color: var(--soft); }
.planned, .simulated { font-style: italic; }
.emulated td, .emulated { color: var(--mark); }
"""


def html_page(comparison: Comparison) -> str:
    """The page, with its plots."""
    require_matplotlib()
    width, height = comparison.size
    style = one_line(comparison.style)
    machine = comparison.machine
    sections: list[html.Content] = [
        html.element("h1", f"{style}: bits and machines compared"),
        html.paragraph(
            f"Frames of {width}x{height}, in uint8, out uint8. This machine: {one_line(machine.processor)}, "
            f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}.",
            kind="soft",
        ),
        html.headlines(_headlines(comparison)),
        html.element(
            "div",
            html.element("section", *_speed(comparison)),
            html.element("section", *_worth(comparison)),
            class_="plots",
        ),
        html.element("h2", "All figures"),
        _table(comparison),
        html.folded("What the columns say", html.definitions((c.heading, c.meaning) for c in COLUMNS)),
    ]
    if comparison.left_out:
        sections += [html.element("h2", "Left out"), html.bullets(one_line(line) for line in comparison.left_out)]
    sections += [
        html.element("h2", "How it was measured"),
        html.bullets(one_line(line) for line in _method(comparison)),
    ]
    return html.page(f"pleinair: {style}, bits and machines compared", sections, colours=_COLOURS, rules=_RULES)


def _plot(svg: str, description: str) -> html.Markup:
    return html.element("figure", html.trusted(svg), role="img", aria_label=description)


def _speed(comparison: Comparison) -> list[html.Content]:
    return [
        html.element("h2", "Frames a second"),
        html.paragraph("Filled bars ran, outlined ones are planned or simulated.", kind="soft"),
        _plot(speed_plot(comparison), "frames a second by backend and bits"),
    ]


def _worth(comparison: Comparison) -> list[html.Content]:
    """Quality against speed, and what each bit costs."""
    price, quality = price_plot(comparison), quality_plot(comparison)
    parts: list[html.Content] = [html.element("h2", "Quality against speed")]
    if quality is not None:
        parts += [
            _plot(quality, "content and style loss against frames a second"),
            html.paragraph(
                "This machine with the most threads. A width paints the same pixels on every machine, so its points "
                "lie on one line.",
                kind="soft",
            ),
        ]
    else:
        evaluate, option = html.element("code", "pleinair evaluate"), html.element("code", "--evaluation")
        parts.append(html.paragraph("Losses come from ", evaluate, ": give its folder with ", option, ".", kind="soft"))
    if price is not None:
        parts += [
            html.element("h2", "The price of each bit"),
            _plot(price, "what each bit costs"),
            html.paragraph(_about_price(comparison), kind="soft"),
        ]
    return parts


def _headlines(comparison: Comparison) -> list[tuple[str, str]]:
    """The figures that one came for, and what they are."""
    own = [r for r in comparison.rows if r.backend == BASE and r.bits == 8 and r.fps]
    heads = []
    for r in own:
        heads.append((f"{rate(r.fps or 0)}/s", f"frames at 8 bits on this machine, {thread_name(r.threads or 1)}"))
        if r.speed_johnson is not None:
            heads.append(
                (_times(r.speed_johnson), f"as fast as Johnson's network in PyTorch, {thread_name(r.threads or 1)}")
            )
    boards = [r for r in shown(comparison) if r.kind == "board" and r.bits == 8]
    if boards:
        best = max(boards, key=lambda r: r.fps or 0)
        heads.append(
            (f"{rate(best.fps or 0)}/s", f"frames at 8 bits on the fastest board, {best.backend} ({best.how})")
        )
    return [(figure, one_line(text)) for figure, text in heads]


def _about_price(comparison: Comparison) -> str:
    text = "Below each figure, in multiples of 8 bits."
    price = comparison.price
    if price.fps is not None:
        text += (
            f" DSPs, LUTs and memory are those of the cheapest plans for {one_line(str(price.board))} that "
            f"reach {rate(price.fps)} frames a second, which all widths do; plans, not synthesis."
        )
    return text


def _table(comparison: Comparison) -> html.Markup:
    rows = ordered(comparison)
    columns = [c for c in COLUMNS if any(c.text(r, comparison) for r in rows)]
    body = []
    before: str | None = None
    for row in rows:
        kinds = [row.how] + (["first"] if row.backend != before else [])
        before = row.backend
        body.append(html.Row([_text(c, row, comparison) for c in columns], kind=" ".join(kinds)))
    return html.table([html.Head(c.heading, c.meaning, left=c.left) for c in columns], body)


def _text(column: Column, row: Row, comparison: Comparison) -> str:
    if column.heading == "how" and row.how == EMULATED:
        return "EMULATED"
    return one_line(column.text(row, comparison))


def _method(comparison: Comparison) -> list[str]:
    machine = comparison.machine
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))
    energy = any(r.energy is not None and r.how == MEASURED and r.kind == "cpu" for r in comparison.rows)
    lines = [
        f"Everything on this machine ran in turns, {comparison.rounds} rounds after a warm-up, every other round "
        "backwards, with a rest before each call; for each number of threads in a process of its own. Times are "
        "medians; a ratio is the median of the ratios within rounds. From a frame in memory to its painting in memory, "
        "the painter's margin and grain included.",
        "Johnson's network (arXiv:1603.08155, supplementary material) is the 32-64-128 one with five residual blocks, "
        "9x9 ends, instance norm, reflection padding and nearest-neighbour upsampling, as in PyTorch's "
        "fast_neural_style example, in eager mode with random weights: they serve for speed alone.",
        "Planned: cycles that the folding expects, at the planned clock. Simulated: cycles between frames of the RTL "
        "in Verilator, at that clock. Neither ran on a board. Boards are compared with this machine's most threads. "
        "EMULATED: a processor stood in for the accelerator, and the figure says nothing of a board.",
        "Energy that is stated divides the most that a board's power supply gives by the planned rate: an upper bound. "
        + (
            "This machine's is what its counters (RAPL) say of the whole processor."
            if energy
            else "This machine's counters (RAPL) could not be read, so its energy was not measured."
        ),
        f"{machine.system}, {machine.architecture}, Python {machine.python}; {versions}.",
    ]
    sources = sorted({r.energy.source for r in comparison.rows if r.energy is not None and r.energy.how != MEASURED})
    lines += [f"Power: {source}." for source in sources]
    return lines


def console_lines(comparison: Comparison) -> Iterable[tuple[str, ...]]:
    """The figures that matter most, for a terminal: backend, bits, threads or how, frames a second, speeds."""
    for r in ordered(comparison):
        how = thread_name(r.threads) if r.threads else ("EMULATED" if r.how == EMULATED else r.how)
        fps = "does not fit" if r.fps is None else rate(r.fps)
        yield one_line(r.backend), width_name(r.bits), how, fps, _times(r.speed_johnson), _times(r.speed_8bit)
