"""The page of a build, ``report.html``: what it is, how fast, and where a board's resources go.

It is made from a :class:`~pleinair_hw.report.data.Report` alone, so an old ``report.json`` can be rendered again. Like
every page of :mod:`pleinair.page` it needs no network and no scripts; it prints, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pleinair.durable import write_file
from pleinair.errors import OutputError
from pleinair.page import Cell, Content, Head, Markup, Row, element, headlines, page, paragraph, table
from pleinair_hw.plan.resources import NAMES
from pleinair_hw.report import picture, words
from pleinair_hw.report.data import ESTIMATES, JSON_FILE, Counts, Report, StageFigures, as_json
from pleinair_hw.report.words import count, share, stage_kind

HTML_FILE = "report.html"

_RULES = """
p { max-width: 54rem; }
.mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .8rem; overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: max-content minmax(10rem, 1fr) max-content 3.5rem; gap: .45rem .9rem;
  align-items: center; max-width: 60rem; }
.bars .n { text-align: right; }
.bar { position: relative; height: .9rem; background: var(--box); border: 1px solid var(--line); }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--bar); }
.bar.over i { background: var(--mark); }
.bar u { position: absolute; top: -4px; bottom: -4px; width: 2px; background: var(--ink); }
.picture svg { min-width: 64rem; }
.wide:not(.narrow) table { width: 100%; }
.narrow table { min-width: min(100%, 34rem); }
th, td { padding: .2rem .4rem; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
th.l, .narrow td:first-child { white-space: normal; }
td.f { color: var(--soft); }
tr.binds td { color: var(--mark); font-weight: 600; }
tr.sum td { font-weight: 600; border-bottom: 0; }
td.b { min-width: 5.8rem;
  background: linear-gradient(var(--fill), var(--fill)) no-repeat 0 50% / var(--w) 78%; }
@media (max-width: 45rem) {
  .bars { grid-template-columns: 1fr max-content 3.2rem; grid-auto-flow: dense; gap: .1rem .7rem; }
  .bar { grid-column: 1 / -1; margin: .2rem 0 .6rem; }
}
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { padding: 0; font-size: 11px; max-width: none; } table { font-size: 8.5px; } td { padding: 1px 4px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } tr, svg, .bars { break-inside: avoid; }
  h2 { break-after: avoid; } .picture svg { min-width: 0; max-height: 176mm; } .wide { overflow: visible; }
}
"""


def write_report(folder: Path, report: Report) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html`` into ``folder``, each whole or not at all; their paths.

    Raises OutputError when they cannot be written.
    """
    texts = {
        JSON_FILE: json.dumps(as_json(report), indent=1, allow_nan=False) + "\n",
        HTML_FILE: render_html(report),
    }
    for name, text in texts.items():
        try:
            write_file(folder / name, text.encode(), durable=False)
        except OSError as error:
            raise OutputError(f"report {folder / name}: cannot be written ({error.strerror})") from error
    return folder / JSON_FILE, folder / HTML_FILE


def render_html(report: Report) -> str:
    """The whole page."""
    sections: list[Content] = [
        *_beginning(report),
        element("h2", "The board"),
        bars(report),
        paragraph(words.BUDGETS, kind="soft"),
        element("h2", "The pipeline"),
        words.work(report),
        paragraph(words.LEGEND, kind="soft"),
        element("div", picture.pipeline_svg(report), class_="wide picture"),
        *_routed(report),
        *_measured(report),
        element("h2", "Convolutions"),
        _convolutions(report),
        element("h2", "Where it goes"),
        _kinds(report),
        element("h2", "Stages"),
        *_stages(report),
        element("h2", "Memories"),
        _memories(report),
        element("h2", "What these figures are"),
        words.sources(),
    ]
    return page(words.title(report), sections, colours=picture.COLOURS, rules=_RULES + picture.RULES.lstrip())


def _beginning(report: Report) -> list[Markup]:
    return [
        element("h1", words.title(report)),
        paragraph(words.asked(report), kind="soft"),
        paragraph("Network ", element("span", report.asked.network_sha256, class_="mono"), kind="soft"),
        headlines(words.headlines(report)),
    ]


def bars(report: Report) -> Markup:
    """How full the board is: a bar for each kind of resource that it has or that is used."""
    parts: list[Content] = []
    for kind in NAMES:
        r = report.resources[kind]
        if not r.available and not r.used:
            continue
        over = r.share is None or r.share > r.budget
        parts += [
            element("span", words.resource(kind)),
            element(
                "div",
                element("i", style=f"width: {1.0 if r.share is None else min(1.0, r.share):.2%}"),
                element("u", style=f"left: calc({r.budget:.0%} - 2px)"),
                class_="bar over" if over else "bar",
                role="img",
                aria_label=words.bar_label(kind, r),
            ),
            element("span", f"{count(kind, r.used)} of {count(kind, r.available)}", class_="n"),
            element("span", share(r.share), class_="n"),
        ]
    return element("div", *parts, class_="bars")


# -- tables


def _heads(*names: str, left: int = 1) -> list[Head]:
    """Headings, the first ones left-aligned."""
    return [Head(name, left=i < left) for i, name in enumerate(names)]


#: Headings of a row's resources.
_COUNTS = ("DSP", "LUT", "LUT RAM", "FF", "BRAM", "URAM")


def _counts(counts: Counts) -> list[str]:
    """Cells of a row of resources; zeros are left blank."""
    return [count(kind, counts[kind]) if counts[kind] else "" for kind in NAMES]


def _bar(value: float) -> Cell:
    """A share with its bar behind it."""
    return Cell(share(value), kind="b", style=f"--w: {min(1.0, value):.1%}")


def _convolutions(report: Report) -> Markup:
    heads = ("convolution", "form", "kernel", "channels", "weights", "MACs, millions", "SIMD x PE", "lanes")
    rows = [
        Row(
            [
                c.name,
                c.form,
                f"{c.kernel} x {c.kernel}" + (f", stride {c.stride}" if c.stride > 1 else ""),
                f"{c.inputs} → {c.outputs}",
                f"{c.weight_bits} bits",
                f"{c.macs / 1e6:,.1f}",
                f"{c.simd} x {c.pe}",
                f"{c.lanes:,}",
                _bar(c.lanes_busy),
                *_counts(c.resources),
            ]
        )
        for c in report.convolutions
    ]
    return table(_heads(*heads, "lanes busy", *_COUNTS, left=2), rows)


def _kinds(report: Report) -> Markup:
    groups: dict[str, list[Counts]] = {}
    for s in report.stages:
        groups.setdefault(s.kind, []).append(s.resources)

    def row(name: str, number: int | str, parts: Sequence[Counts], kind: str = "") -> Row:
        total = {k: sum(counts[k] for counts in parts) for k in NAMES}
        luts = total["lut"] / max(1, report.resources["lut"].used)
        return Row([name, number, _bar(luts), *_counts(total)], kind=kind)

    by_luts = sorted(groups.items(), key=lambda group: -sum(counts["lut"] for counts in group[1]))
    rows = [row(f"{stage_kind(kind)} ({kind})", len(own), own) for kind, own in by_luts]
    everything = [*(s.resources for s in report.stages), report.shell]
    rows += [
        row("shell: DMA, allowance; the light's port", "", [report.shell]),
        row("all", len(report.stages), everything, "sum"),
    ]
    return table(_heads("kind of stage", "number", "share of the LUTs", *_COUNTS), rows)


def _finn(stage: StageFigures) -> list[Cell]:
    """FINN's estimates of a stage; what it has none of is left blank."""
    found = stage.finn or {}
    kinds = {"BRAM_18K": "bram"}
    return [Cell(count(kinds.get(key, key), found[key]) if key in found else "", kind="f") for key in ESTIMATES]


def _stages(report: Report) -> list[Markup]:
    finn = any(s.finn for s in report.stages)
    heads = ["stage", "kind", "SIMD", "PE", "word, bits", "cycles", "busy", *_COUNTS]
    heads += [f"FINN {name.removesuffix('_18K')}" for name in ESTIMATES] if finn else []
    rows = [
        Row(
            [
                s.name,
                stage_kind(s.kind),
                s.simd or "",
                s.pe or "",
                f"{s.stream_bits:,}",
                f"{s.cycles:,}",
                _bar(s.busy),
                *_counts(s.resources),
                *(_finn(s) if finn else ()),
            ],
            kind="binds" if s.name in report.rate.binding_stages else "",
        )
        for s in report.stages
    ]
    return [table(_heads(*heads, left=2), rows)] + ([paragraph(words.FINN, kind="soft")] if finn else [])


def _memories(report: Report) -> Markup:
    heads = _heads("memory of", "what", "where", "words", "bits", "Kibit", "LUT", "BRAM", "URAM", left=3)
    rows, stored = [], 0
    for s in report.stages:
        m = s.memory
        if m is None:
            continue
        stored += m.words * m.bits
        cells = [s.name, words.held(s.kind), words.memory_style(m.style), f"{m.words:,}", f"{m.bits:,}"]
        cells += [
            f"{m.words * m.bits / 1024:,.1f}",
            *(count(kind, m.resources[kind]) for kind in ("lut", "bram", "uram")),
        ]
        rows.append(Row(cells))
    rows.append(Row(["all", "", "", "", "", f"{stored / 1024:,.0f}"], kind="sum"))
    return table(heads, rows)


def _routed(report: Report) -> list[Markup]:
    if report.routed is None:
        return []
    parts = [
        element("h2", "Placed and routed"),
        table(_heads("", "routed", "planned"), [Row(figures) for figures in words.routed(report)], "narrow"),
    ]
    if words.untimed(report):
        parts.append(paragraph(words.untimed(report)))
    return parts


def _measured(report: Report) -> list[Markup]:
    if report.measured is None:
        return []
    depths = {s.name.replace(".", "_"): f"{s.depth:,}" for s in report.stages if s.kind == "StreamingFIFO"}
    fifos = [
        Row([name, f"{most:,}", depths.get(name.replace(".", "_"), "")])
        for name, most in report.measured.occupancies.items()
    ]
    parts = [
        element("h2", "Measured in simulation"),
        table(_heads("", "measured", "planned"), [Row(figures) for figures in words.measured(report)], "narrow"),
    ]
    if fifos:
        parts += [element("h3", "FIFOs"), table(_heads("", "most words held", "depth"), fifos, "narrow")]
    return parts
