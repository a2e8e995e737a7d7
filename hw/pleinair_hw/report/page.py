"""What a build is and what it costs, for people (``report.html``) and programs (``report.json``).

:func:`describe` turns a plan into plain JSON data, :func:`write_report` writes both files from that data alone, so an
old ``report.json`` can be rendered again. The page needs no network and no scripts, and prints.

``report.json`` (``"format": "pleinair-build-report"``, version 1)
    ``title``; ``asked`` (bits, size and input as [width, height], margin, fps or null, network_sha256); ``board``;
    ``clock_mhz``; ``rate`` (fps, interval in cycles, binding_stages, fullest resource); ``work`` (multiply-accumulates
    a frame as executed and as the network has them, lanes, lanes_busy, ideal_cycles); ``resources`` by kind (used,
    available, share or null where the board has none, budget); ``shell`` (the DMA's resources); ``convolutions``;
    ``stages`` in order, with what each reads, its stream's width, cycles, resources and memory, and FINN's estimate
    where one was given; ``measured`` or null. Resources of stages and shell add up to ``used``; ``lut`` includes
    ``lutram``; ``bram`` counts blocks of 18 Kib.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

from pleinair.durable import write_file
from pleinair.errors import OutputError
from pleinair_hw.plan.dataflow import AddClamp, Window
from pleinair_hw.plan.plan import BUDGET, Plan, Stage
from pleinair_hw.plan.resources import Resources

FORMAT = "pleinair-build-report"
VERSION = 1
JSON_FILE = "report.json"
HTML_FILE = "report.html"

#: Kinds of a board's resources: heading, unit divided by (block RAM is counted in halves of a tile).
_RESOURCES = {
    "dsp": ("DSPs", 1),
    "lut": ("LUTs", 1),
    "lutram": ("LUTs as memory", 1),
    "ff": ("flip-flops", 1),
    "bram": ("block RAM, 36 Kib", 2),
    "uram": ("UltraRAM", 1),
}
#: FINN's operator names in the words of the page.
_WORDS = {
    "FMPadding": "pad",
    "ConvolutionInputGenerator": "window",
    "MVAU": "product",
    "TapSum": "tap sum",
    "RequantShift": "requantise",
    "PixelShuffle": "shuffle",
    "UpsampleNearestNeighbour": "upsample",
    "DuplicateStreams": "fork",
    "AddClamp": "add",
    "StreamingDataWidthConverter": "width",
    "StreamingFIFO": "FIFO",
}
_FINN = ("cycles", "LUT", "DSP", "BRAM_18K", "URAM")


# ---------------------------------------------------------------------------------------------------- data


def _used(resources: Resources) -> dict[str, int]:
    """By the board's kinds; ``lut`` includes LUTs as memory."""
    return {
        "dsp": resources.dsp,
        "lut": resources.total_lut,
        "lutram": resources.lutram,
        "ff": resources.ff,
        "bram": resources.bram18,
        "uram": resources.uram,
    }


def _layer(operator: str) -> str:
    return operator.rsplit(".", 1)[0]


def _stream(plan: Plan, stage: Stage, reads: Mapping[str, Sequence[str]]) -> tuple[int, int, int, int]:
    """Height, width and channels of what a stage gives, and bits of a word of it, not padded to bytes."""
    if stage.kind == "StreamingFIFO":
        return _stream(plan, plan.stage(reads[stage.name][0]), reads)
    o = plan.dataflow.operator(stage.operator)
    out, lanes = o.output, stage.pe or stage.simd
    if stage.kind == "StreamingDataWidthConverter":
        name = stage.name.removesuffix(".up")
        number = name.rsplit(".width", 1)[1]
        out = plan.dataflow.input_of(o, int(number or 0))
        if isinstance(o, Window) and name == f"{o.name}.width":
            out = o.padded if any(o.pad) else out
    elif stage.kind == "FMPadding" and isinstance(o, Window):
        out = o.padded
    elif stage.parallel_window and isinstance(o, Window):
        lanes *= o.kernel[0] * o.kernel[1]
    return out.height, out.width, out.channels, lanes * out.bits


def _reads(plan: Plan) -> dict[str, list[str]]:
    """The stages that each stage reads, in order of its inputs; none for the pixels from outside."""
    names = {s.name for s in plan.stages}
    reads: dict[str, list[str]] = {}

    def connect(consumer: str, source: str | None, number: int = 0, skip: bool = False) -> None:
        """Source, its FIFO, the consumer's width converters, up and down, each with its FIFO, consumer."""
        converter = f"{consumer}.width{number or ''}"
        stream = f"{source}.skip" if skip else source
        between = (f"{name}{end}" for name in (f"{converter}.up", converter) for end in ("", ".fifo"))
        for name in (f"{stream}.fifo", *between, consumer):
            if name in names:
                reads.setdefault(name, []).extend([] if source is None else [source])
                source = name

    for o in plan.dataflow.operators:
        for number, name in enumerate(o.inputs):
            source = name if name in names else None
            if f"{o.name}.pad" in names:
                connect(f"{o.name}.pad", source)
                source = f"{o.name}.pad"
            connect(o.name, source, number, isinstance(o, AddClamp) and number == 0)
    for stage in plan.stages:  # a FIFO behind the last stage
        if stage.name not in reads:
            reads[stage.name] = [stage.name.removesuffix(".fifo")] if stage.kind == "StreamingFIFO" else []
    return reads


def _finn(estimates: Mapping[str, Mapping[str, Any]] | None, stage: Stage) -> dict[str, float] | None:
    found = (estimates or {}).get(stage.name) or (estimates or {}).get(stage.name.replace(".", "_"))
    return None if found is None else {key: found[key] for key in _FINN if key in found}


def _describe_stage(
    plan: Plan, stage: Stage, reads: Mapping[str, Sequence[str]], finn: dict[str, float] | None
) -> dict[str, Any]:
    height, width, channels, bits = _stream(plan, stage, reads)
    memory = stage.memory
    return {
        "name": stage.name,
        "kind": stage.kind,
        "layer": _layer(stage.operator),
        "reads": list(reads[stage.name]),
        "simd": stage.simd,
        "pe": stage.pe,
        "shape": [height, width, channels],
        "stream_bits": bits,
        "cycles": stage.cycles,
        "busy": stage.cycles / plan.cycles,
        "macs": stage.macs,
        "lanes": stage.lanes,
        "depth": stage.depth,
        "parallel_window": stage.parallel_window,
        "resources": _used(stage.total),
        "memory": None
        if memory is None
        else {
            "words": memory.words,
            "bits": memory.bits,
            "style": memory.style,
            "resources": _used(memory.chosen),
        },
        "finn": finn,
    }


def _convolutions(plan: Plan) -> list[dict[str, Any]]:
    found = []
    for c in plan.dataflow.network.convolutions():
        own = [s for s in plan.stages if _layer(s.operator) == c.name]
        product = next(s for s in own if s.kind == "MVAU")
        slowest = max(own, key=lambda s: s.cycles)
        found.append(
            {
                "name": c.name,
                "form": plan.forms.get(c.name, "direct"),
                "kernel": c.kernel,
                "stride": c.stride,
                "inputs": c.inputs,
                "outputs": c.outputs,
                "weight_bits": c.weight_bits,
                "macs": product.macs,
                "simd": product.simd,
                "pe": product.pe,
                "lanes": product.lanes,
                "lanes_busy": product.macs / (product.lanes * plan.cycles),
                "cycles": slowest.cycles,
                "slowest": slowest.name,
                "resources": _used(sum((s.total for s in own), Resources())),
            }
        )
    return found


def describe(
    plan: Plan, *, title: str, bits: int, size: tuple[int, int], margin: int, network_sha256: str,
    target_fps: float | None = None, finn: Mapping[str, Mapping[str, Any]] | None = None,
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What ``report.json`` holds, JSON-ready; the same plan always gives the same.

    Args:
        size: the frame that the user sees, (width, height) in pixels; ``margin`` pixels around it.
        target_fps: frames per second that were asked for; None for as fast as can be.
        finn: FINN's own estimates by stage (dots or underscores): ``cycles, LUT, DSP, BRAM_18K, URAM``, any of them.
        measured: what simulation gave, JSON-ready: ``latency`` and ``interval`` in cycles, ``fps`` at the planned
            clock, ``lanes_busy``, ``occupancies`` (words by FIFO) and whatever else is worth telling.
    """
    source, board, total = plan.dataflow.source, plan.board, plan.total
    reads = _reads(plan)
    stages = [_describe_stage(plan, s, reads, _finn(finn, s)) for s in plan.stages]
    staged = sum((s.total for s in plan.stages), Resources())
    shell = Resources(*(getattr(total, f.name) - getattr(staged, f.name) for f in fields(Resources)))
    available = {"dsp": board.dsp, "lut": board.lut, "lutram": board.lutram, "ff": board.ff}
    available |= {"bram": board.bram18, "uram": board.uram}
    fullest = max(plan.shares, key=lambda k: plan.shares[k] / BUDGET[k])
    description: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "asked": {
            "bits": bits,
            "size": list(size),
            "margin": margin,
            "input": [source.width, source.height],
            "fps": target_fps,
            "writeable_weights": plan.options.writeable,
            "pumped": plan.options.pumped,
            "network_sha256": network_sha256,
        },
        "board": {"name": board.name, "title": board.title, "part": board.part, "dsp_block": board.dsp_block},
        "clock_mhz": plan.clock_hz / 1e6,
        "rate": {
            "fps": plan.fps,
            "interval": plan.cycles,
            "binding_stages": [s.name for s in plan.stages if s.cycles == plan.cycles],
            "fullest": {"resource": fullest, "share": _finite(plan.shares[fullest]), "budget": BUDGET[fullest]},
        },
        "work": {
            "macs_executed": plan.dataflow.macs,
            "macs_network": round(plan.dataflow.network.macs_per_pixel() * source.pixels),
            "lanes": plan.lanes,
            "lanes_busy": plan.lanes_busy,
            "ideal_cycles": math.ceil(plan.dataflow.macs / plan.lanes),
        },
        "resources": {
            kind: {
                "used": used,
                "available": available[kind],
                "share": _finite(plan.shares[kind]),
                "budget": BUDGET[kind],
            }
            for kind, used in _used(total).items()
        },
        "shell": _used(shell),
        "convolutions": _convolutions(plan),
        "stages": stages,
        "measured": None if measured is None else dict(measured),
    }
    # A copy through JSON: no tuples or NumPy numbers are left, and what cannot be written fails here.
    copy: dict[str, Any] = json.loads(json.dumps(description, allow_nan=False))
    return copy


def _finite(share: float) -> float | None:
    return share if math.isfinite(share) else None


def write_report(folder: Path, description: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html`` into ``folder``, each whole or not at all; their paths.

    Raises OutputError when they cannot be written.
    """
    texts = {JSON_FILE: json.dumps(description, indent=1) + "\n", HTML_FILE: render_html(description)}
    for name, text in texts.items():
        try:
            write_file(folder / name, text.encode(), durable=False)
        except OSError as error:
            raise OutputError(f"report {folder / name}: cannot be written ({error.strerror})") from error
    return folder / JSON_FILE, folder / HTML_FILE


# ---------------------------------------------------------------------------------------------------- the page

_STYLE = """
:root { --ink: #1d2126; --soft: #626a73; --line: #d6dadf; --paper: #fff; --box: #f5f6f8; --fill: #cddff2;
  --work: #f3d3ab; --mark: #b3261e; --bar: #4a7fb5; --over: #b3261e; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --soft: #98a1ab; --line: #363c43; --paper: #131619;
  --box: #1d2126; --fill: #274360; --work: #67481f; --mark: #ff8a7a; --bar: #6ea3da; --over: #ff8a7a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1280px; padding: 28px 24px 56px; background: var(--paper); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 24px; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; font-weight: 600; margin: 40px 0 10px; }
h3 { font-size: 13.5px; font-weight: 600; margin: 20px 0 4px; }
p { margin: 4px 0; max-width: 88ch; }
.soft { color: var(--soft); }
.mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 12px; overflow-wrap: anywhere; }
.heads { display: flex; flex-wrap: wrap; gap: 12px 44px; margin: 24px 0 0; }
.heads div { min-width: 110px; }
.heads b { display: block; font-size: 27px; font-weight: 600; line-height: 1.2; }
.heads span { color: var(--soft); font-size: 13px; }
.bars { display: grid; grid-template-columns: 150px minmax(200px, 1fr) 170px 60px; gap: 7px 14px; align-items: center;
  max-width: 940px; }
.bars .n { text-align: right; }
.bar { position: relative; height: 14px; background: var(--box); border: 1px solid var(--line); }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--bar); }
.bar.over i { background: var(--over); }
.bar u { position: absolute; top: -4px; bottom: -4px; width: 2px; background: var(--ink); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12.5px; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--ink); padding: 4px 8px;
  vertical-align: bottom; }
td { padding: 2.5px 7px; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.r, th.r { text-align: right; }
td.f { color: var(--soft); text-align: right; }
tr.binds td { color: var(--mark); font-weight: 600; }
tr.sum td { font-weight: 600; border-bottom: 0; }
.narrow { max-width: 720px; }
td.b { min-width: 92px; text-align: right;
  background: linear-gradient(var(--fill), var(--fill)) no-repeat 0 50% / var(--w) 78%; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 10px; }
svg .l { font-size: 11.5px; font-weight: 600; }
svg .s { fill: var(--soft); font-size: 9px; }
svg .bits { fill: var(--soft); font-size: 8.5px; }
svg .wire { fill: none; stroke: var(--soft); stroke-width: 1; }
svg .skip { fill: none; stroke: var(--bar); stroke-width: 1.4; }
svg .box { fill: var(--box); stroke: var(--soft); stroke-width: .8; }
svg .busy { fill: var(--fill); }
svg .MVAU .busy { fill: var(--work); }
svg .frame { fill: var(--box); stroke: var(--soft); stroke-width: .8; }
svg .binds .box { stroke: var(--mark); stroke-width: 2.2; }
svg .mark { fill: var(--mark); font-weight: 600; }
svg .head { fill: var(--soft); }
@page { size: A4 landscape; margin: 12mm; }
@media print { :root { --ink: #000; --soft: #555; --line: #ccc; --paper: #fff; --box: #f5f6f8; --fill: #cddff2;
  --work: #f3d3ab; --mark: #b3261e; --bar: #4a7fb5; --over: #b3261e; }
  body { padding: 0; font-size: 11px; max-width: none; } table { font-size: 8.5px; } td { padding: 1px 4px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } tr, svg, .bars { break-inside: avoid; }
  h2 { break-after: avoid; } svg { max-height: 176mm; } .wide { overflow: visible; } }
"""


def _number(value: float) -> str:
    """Three significant places below a hundred, whole above, groups of three set apart."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def _share(value: float | None) -> str:
    if value is None:
        return "none there"
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def _amount(value: int) -> str:
    """Block RAM in tiles of two blocks."""
    return f"{value / 2:,.1f}".removesuffix(".0")


def _cell(text: Any, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(str(text))}</td>' if kind else f"<td>{escape(str(text))}</td>"


def _table(heads: Sequence[str], rows: Iterable[str], left: int = 1, kind: str = "wide") -> str:
    """``heads`` are right-aligned past the first ``left``."""
    cells = "".join(f'<th class="{"r" if i >= left else ""}">{escape(h)}</th>' for i, h in enumerate(heads))
    return f'<div class="{kind}"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _busy_cell(share: float) -> str:
    return f'<td class="b" style="--w: {min(1.0, share):.1%}">{_share(share)}</td>'


def _headline(d: Mapping[str, Any]) -> str:
    asked, rate, work = d["asked"], d["rate"], d["work"]
    fullest = rate["fullest"]
    heads = [
        (_number(rate["fps"]), f"frames/s at {_number(d['clock_mhz'])} MHz, planned"),
        (f"{rate['interval']:,}", "cycles between frames"),
        (f"{work['lanes_busy']:.1%}", f"of {work['lanes']:,} multiplier lanes busy"),
        (
            _share(fullest["share"]),
            f"of the {_RESOURCES[fullest['resource']][0]}: fullest, {fullest['budget']:.0%} may be used",
        ),
    ]
    wanted = "as fast as fits" if asked["fps"] is None else f"{_number(asked['fps'])} frames/s"
    (width, height), (wide, high) = asked["size"], asked["input"]
    figures = "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in heads)
    title, part = escape(f"{d['title']}, {asked['bits']} bits, on {d['board']['title']}"), escape(d["board"]["part"])
    told = f"Asked for: frames of {width} x {height}, {wanted}. With a margin of {asked['margin']} pixels the network "
    told += f"paints {wide} x {high}."
    if asked["writeable_weights"]:
        told += " Weights can be changed at run time."
    if asked["pumped"]:
        told += " Matrix products run at twice the clock."
    return (
        f'<h1>{title}</h1><p class="soft">{escape(told)} Part {part}, {_number(d["clock_mhz"])} MHz.</p>'
        f'<p class="soft">Network <span class="mono">{escape(asked["network_sha256"])}</span></p>'
        f'<div class="heads">{figures}</div>'
    )


def _bars(d: Mapping[str, Any]) -> str:
    rows = []
    for kind, r in d["resources"].items():
        name, unit = _RESOURCES[kind]
        if not r["available"] and not r["used"]:
            continue
        share = r["share"]
        over = share is None or share > r["budget"]
        used = _amount(r["used"]) if unit == 2 else f"{r['used']:,}"
        there = _amount(r["available"]) if unit == 2 else f"{r['available']:,}"
        rows.append(
            f'<span>{name}</span><div class="bar{" over" if over else ""}" role="img" '
            f'aria-label="{name}: {_share(share)}, budget {r["budget"]:.0%}">'
            f'<i style="width: {min(1.0, 1.0 if share is None else share):.2%}"></i>'
            f'<u style="left: calc({r["budget"]:.0%} - 2px)"></u></div>'
            f'<span class="n">{used} of {there}</span><span class="n">{_share(share)}</span>'
        )
    note = "The upright mark is the budget: the share that a plan may fill."
    return f'<div class="bars">{"".join(rows)}</div><p class="soft">{note}</p>'


def _binding(d: Mapping[str, Any]) -> str:
    names = d["rate"]["binding_stages"]
    first, others = _setting(d), len(names) - 1
    if not others:
        return f"Stage <b>{escape(first)}</b> sets the rate."
    return f"Stage <b>{escape(first)}</b> and {others} as slow {'one sets' if others == 1 else 'ones set'} the rate."


def _setting(d: Mapping[str, Any]) -> str:
    """The stage to name as the one that sets the rate: of several as slow, a product, as it costs most to hurry."""
    names = d["rate"]["binding_stages"]
    products = [s["name"] for s in d["stages"] if s["name"] in names and s["kind"] == "MVAU"]
    return str((products or names)[0])


def _work(d: Mapping[str, Any]) -> str:
    work, rate = d["work"], d["rate"]
    saved = work["macs_executed"] / work["macs_network"]
    return (
        f"<p>A frame takes {_number(work['macs_executed'] / 1e6)} million multiply-accumulates"
        + (
            f" ({_number(work['macs_network'] / 1e6)} million as the network is written; merged phases save "
            f"{1 - saved:.0%})"
            if saved < 1
            else ""
        )
        + f". On {work['lanes']:,} lanes that is {work['ideal_cycles']:,} cycles at the least; the plan takes "
        f"{rate['interval']:,}. {_binding(d)}</p>"
    )


_SUMS = ("dsp", "lut", "lutram", "ff", "bram", "uram")
_SUM_HEADS = ["DSP", "LUT", "LUT RAM", "FF", "BRAM", "URAM"]


def _sums(r: Mapping[str, int]) -> str:
    """Cells of a row of resources; zeros are left blank."""
    texts = (_amount(r[k]) if k == "bram" else f"{r[k]:,}" for k in _SUMS)
    return "".join(_cell("" if text == "0" else text, "r") for text in texts)


def _convolution_table(d: Mapping[str, Any]) -> str:
    heads = ["convolution", "form", "kernel", "channels", "weights", "MACs, millions", "SIMD x PE", "lanes"]
    rows = [
        "<tr>"
        + _cell(c["name"])
        + _cell(c["form"])
        + _cell(f"{c['kernel']} x {c['kernel']}" + (f", stride {c['stride']}" if c["stride"] > 1 else ""), "r")
        + _cell(f"{c['inputs']} → {c['outputs']}", "r")
        + _cell(f"{c['weight_bits']} bits", "r")
        + _cell(f"{c['macs'] / 1e6:,.1f}", "r")
        + _cell(f"{c['simd']} x {c['pe']}", "r")
        + _cell(f"{c['lanes']:,}", "r")
        + _busy_cell(c["lanes_busy"])
        + _sums(c["resources"])
        + "</tr>"
        for c in d["convolutions"]
    ]
    return _table([*heads, "lanes busy", *_SUM_HEADS], rows, left=2)


def _kind_table(d: Mapping[str, Any]) -> str:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for s in d["stages"]:
        groups.setdefault(s["kind"], []).append(s)

    def row(name: str, count: Any, parts: list[Mapping[str, int]], style: str = "") -> str:
        total = {k: sum(p[k] for p in parts) for k in _SUMS}
        lut = total["lut"] / max(1, d["resources"]["lut"]["used"])
        return f'<tr class="{style}">{_cell(name)}{_cell(count, "r")}{_busy_cell(lut)}{_sums(total)}</tr>'

    rows = [
        row(f"{_WORDS.get(kind, kind)} ({kind})", len(own), [s["resources"] for s in own])
        for kind, own in sorted(groups.items(), key=lambda g: -sum(s["resources"]["lut"] for s in g[1]))
    ]
    rows.append(row("shell: DMA, allowance", "", [d["shell"]]))
    everything = [*(s["resources"] for s in d["stages"]), d["shell"]]
    rows.append(row("all", len(d["stages"]), everything, "sum"))
    return _table(["kind of stage", "number", "share of the LUTs", *_SUM_HEADS], rows)


def _stage_table(d: Mapping[str, Any]) -> str:
    finn = any(s["finn"] for s in d["stages"])
    heads = ["stage", "kind", "SIMD", "PE", "word, bits", "cycles", "busy", *_SUM_HEADS]
    heads += [f"FINN {k.removesuffix('_18K')}" for k in _FINN] if finn else []
    rows = []
    for s in d["stages"]:
        binds = ' class="binds"' if s["name"] in d["rate"]["binding_stages"] else ""
        row = f"<tr{binds}>{_cell(s['name'])}{_cell(_WORDS.get(s['kind'], s['kind']))}"
        row += _cell(s["simd"] or "", "r") + _cell(s["pe"] or "", "r") + _cell(f"{s['stream_bits']:,}", "r")
        row += _cell(f"{s['cycles']:,}", "r") + _busy_cell(s["busy"]) + _sums(s["resources"])
        for key in _FINN if finn else ():
            value = (s["finn"] or {}).get(key)
            shown = "" if value is None else _amount(value) if key == "BRAM_18K" else f"{value:,.0f}"
            row += _cell(shown, "f")
        rows.append(row + "</tr>")
    note = "FINN's own estimates stand at the right, for comparison; no LUT, or another DSP count, is as FINN gives it."
    return _table(heads, rows, left=2) + (f'<p class="soft">{note}</p>' if finn else "")


def _memory_table(d: Mapping[str, Any]) -> str:
    styles = {"distributed": "LUT RAM", "block": "block RAM", "ultra": "UltraRAM"}
    rows, stored = [], 0
    for s in d["stages"]:
        m = s["memory"]
        if m is None:
            continue
        stored += m["words"] * m["bits"]
        what = {"MVAU": "weights", "ConvolutionInputGenerator": "rows"}.get(s["kind"], _WORDS.get(s["kind"], s["kind"]))
        rows.append(
            f"<tr>{_cell(s['name'])}{_cell(what)}{_cell(styles.get(m['style'], m['style']))}"
            f"{_cell(format(m['words'], ','), 'r')}{_cell(format(m['bits'], ','), 'r')}"
            f"{_cell(format(m['words'] * m['bits'] / 1024, ',.1f'), 'r')}"
            f"{_cell(format(m['resources']['lut'], ','), 'r')}{_cell(_amount(m['resources']['bram']), 'r')}"
            f"{_cell(m['resources']['uram'], 'r')}</tr>"
        )
    rows.append(
        f'<tr class="sum">{_cell("all")}<td></td><td></td><td></td><td></td>{_cell(f"{stored / 1024:,.0f}", "r")}</tr>'
    )
    return _table(["memory of", "what", "where", "words", "bits", "Kibit", "LUT", "BRAM", "URAM"], rows, left=3)


_MEASURED = {
    "latency": "latency: first word in to last word out, cycles",
    "interval": "cycles between frames",
    "fps": "frames/s at the planned clock",
    "lanes_busy": "multiplier lanes busy",
    "frames": "frames simulated",
    "differing_bytes": "bytes that differ from the integer reference",
    "size": "size of the simulated frame",
    "seconds": "wall time of the simulation, s",
}


def _measured(d: Mapping[str, Any]) -> str:
    measured = d["measured"]
    if measured is None:
        return ""
    planned = {"interval": d["rate"]["interval"], "fps": d["rate"]["fps"], "lanes_busy": d["work"]["lanes_busy"]}

    def text(key: str, value: Any) -> str:
        if key == "lanes_busy" and isinstance(value, (int, float)):
            return f"{value:.1%}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
        return f"{value:,}" if isinstance(value, int) else _number(value)

    rows = [
        f"<tr>{_cell(_MEASURED.get(key, key))}{_cell(text(key, value), 'r')}"
        f"{_cell(text(key, planned[key]) if key in planned else '', 'r')}</tr>"
        for key, value in measured.items()
        if not isinstance(value, dict)
    ]
    page = "<h2>Measured in simulation</h2>" + _table(["", "measured", "planned"], rows, 1, "narrow")
    depths = {s["name"].replace(".", "_"): s["depth"] for s in d["stages"] if s["kind"] == "StreamingFIFO"}
    fifos = [
        f"<tr>{_cell(name)}{_cell(format(words, ','), 'r')}"
        f"{_cell(format(depths[key], ',') if (key := name.replace('.', '_')) in depths else '', 'r')}</tr>"
        for name, words in measured.get("occupancies", {}).items()
    ]
    return page + ("<h3>FIFOs</h3>" + _table(["", "most words held", "depth"], fifos, 1, "narrow") if fifos else "")


_SOURCES = """
<p>Everything on this page is planned, but for what stands under “Measured in simulation”; nothing is from Vivado.</p>
<p><b>Cycles</b> of FINN's stages are FINN's own expectation of its RTL; our blocks pass a word a cycle. The slowest
stage sets the interval; what filling the pipeline takes shows in simulation.</p>
<p><b>DSPs</b> follow from the matrix-vector unit's RTL: a DSP computes several products of narrow operands at a time,
the lanes. <b>Lanes busy</b> is the share of them that does a useful product, over the interval. <b>Block RAM</b> and
<b>UltraRAM</b> follow from words, widths and the data sheets' aspects.</p>
<p><b>LUTs</b> and <b>flip-flops</b> are formulas that follow the RTL's structure, with coefficients fitted to open
synthesis (Yosys); they are rather high than low. The shell's DMA is an allowance. Budgets leave room for routing.</p>
"""

# ---------------------------------------------------------------------------------------------------- the picture

_LEGEND = """
<p class="soft">A row for each convolution, in order; the pixels enter above and the painting leaves below. A box is a
stage, filled up to the share of the interval in which it is busy (products of matrices in orange); it is lower where
the frame is smaller, as the frame at the left of each row is. Numbers on the lines are bits a word. Wedges change a
word's width, barred boxes are FIFOs; blue lines carry what a residual block adds. Red frames mark the stages that set
the rate.</p>
"""
#: Columns of the picture. A kind that is not named stands behind the one before it.
_COLUMNS = (
    ("DuplicateStreams", "UpsampleNearestNeighbour"), ("FMPadding",), ("ConvolutionInputGenerator",), ("MVAU",),
    ("TapSum",), ("RequantShift",), ("PixelShuffle", "AddClamp"),
)  # fmt: skip
_GLYPHS = ("StreamingDataWidthConverter", "StreamingFIFO")
_WIDTH, _LEFT, _RAIL, _GAP, _TALL, _BETWEEN = 1232, 138, 76, 56, 46, 36


class _Picture:
    """Lays the stages out in rows and draws them as SVG."""

    def __init__(self, d: Mapping[str, Any]) -> None:
        self.d = d
        self.stages = {s["name"]: s for s in d["stages"]}
        self.solid = [s for s in d["stages"] if s["kind"] not in _GLYPHS]
        self.rows = list(dict.fromkeys(s["layer"] for s in self.solid))
        self.row = {s["name"]: self.rows.index(s["layer"]) for s in self.solid}
        self.scale_height = max(s["shape"][0] for s in self.solid)
        self.scale_width = max(s["shape"][1] for s in self.solid)
        used = [kinds for kinds in _COLUMNS if any(s["kind"] in kinds for s in self.solid)]
        self.column: dict[str, int] = {}
        for layer in self.rows:
            at = -1
            for s in (s for s in self.solid if s["layer"] == layer):
                own = next((i for i, kinds in enumerate(used) if s["kind"] in kinds), at + 1)
                at = max(own, at + 1)
                self.column[s["name"]] = at
        self.pitch = (_WIDTH - _LEFT - _RAIL) / (max(self.column.values()) + 1)
        self.box_width = self.pitch - _GAP
        self.parts: list[str] = []

    # places

    def top(self, row: int) -> float:
        return 30 + row * (_TALL + _BETWEEN)

    def middle(self, row: int) -> float:
        return self.top(row) + _TALL / 2

    def left(self, name: str) -> float:
        return _LEFT + _GAP + self.column[name] * self.pitch

    def height(self, name: str) -> float:
        halvings = math.log2(max(1.0, self.scale_width / self.stages[name]["shape"][1]))
        return _TALL - 8 * min(2, round(halvings))

    # parts

    def text(self, x: float, y: float, text: Any, kind: str = "", anchor: str = "start") -> None:
        style = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(str(text))}</text>')

    def wire(self, points: Sequence[tuple[float, float]], kind: str = "wire", arrow: bool = True) -> None:
        """A line of horizontal and vertical runs, its corners rounded."""
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
        self.parts.append(f'<path class="{kind}" d="{"".join(path)}"/>')
        if arrow:
            (a, b), (x, y) = points[-2], points[-1]
            if abs(x - a) > abs(y - b):
                self.parts.append(f'<path class="head" d="M{x:.1f} {y:.1f}l-5 -2.6v5.2z"/>')
            else:
                self.parts.append(f'<path class="head" d="M{x:.1f} {y:.1f}l-2.6 -5h5.2z"/>')

    def open(self, s: Mapping[str, Any]) -> None:
        """The group of a stage, with what a pointer shows."""
        binds = " binds" if s["name"] in self.d["rate"]["binding_stages"] else ""
        r, memory = s["resources"], s["memory"]
        rows, columns, channels = s["shape"]
        told = [
            f"{s['name']} ({s['kind']})",
            f"SIMD {s['simd']}, PE {s['pe']}, {columns} x {rows} x {channels}, {s['stream_bits']} bits a word",
            f"{s['cycles']:,} cycles, busy {_share(s['busy'])}",
            f"{r['dsp']} DSP, {r['lut']:,} LUT, {r['ff']:,} FF, {_amount(r['bram'])} BRAM, {r['uram']} URAM",
        ]
        if s["kind"] == "StreamingFIFO":
            told.append(f"{s['depth']:,} words deep")
        if memory is not None:
            told.append(f"{memory['words']:,} words of {memory['bits']:,} bits, {memory['style']}")
        self.parts.append(f'<g class="{escape(s["kind"])}{binds}" data-stage="{escape(s["name"])}">')
        self.parts.append(f"<title>{escape(chr(10).join(told))}</title>")

    def box(self, s: Mapping[str, Any], x: float, y: float, width: float, height: float, lines: Sequence[str]) -> None:
        full = height * min(1.0, s["busy"])
        frame = f'x="{x:.1f}" width="{width:.1f}"'
        self.open(s)
        self.parts.append(f'<rect class="box" {frame} y="{y:.1f}" height="{height:.1f}" rx="2"/>')
        self.parts.append(f'<rect class="busy" {frame} y="{y + height - full:.1f}" height="{full:.1f}" rx="2"/>')
        outline = f'{frame} y="{y:.1f}" height="{height:.1f}" rx="2"'
        self.parts.append(f'<rect class="box" style="fill: none" {outline}/>')
        for number, line in enumerate(lines):
            place = y + height / 2 + 3.5 + (number - (len(lines) - 1) / 2) * 12
            self.text(x + width / 2, place, line, "s" if number else "", "middle")
        self.parts.append("</g>")

    def glyph(self, s: Mapping[str, Any], x: float, y: float) -> None:
        """A width converter's wedge, wide where its words are, or a FIFO."""
        self.open(s)
        if s["kind"] == "StreamingFIFO":
            bars = "".join(f"M{x + k:.1f} {y - 5:.1f}v10" for k in (-2.5, 0, 2.5))
            self.parts.append(f'<rect class="box" x="{x - 6:.1f}" y="{y - 5:.1f}" width="12" height="10"/>')
            self.parts.append(f'<path class="wire" d="{bars}"/>')
        else:
            a, b = (3, 8) if s["pe"] > s["simd"] else (8, 3)
            start, end = x - 6, x + 6
            shape = f"M{start:.1f} {y - a}L{end:.1f} {y - b}V{y + b}L{start:.1f} {y + a}z"
            full = min(1.0, s["busy"])
            edge, cut = end - 12 * full, b + (a - b) * full  # it fills from its far end
            filled = f"M{edge:.1f} {y - cut:.1f}L{end:.1f} {y - b}V{y + b}L{edge:.1f} {y + cut:.1f}z"
            self.parts.append(f'<path class="box" d="{shape}"/><path class="busy" d="{filled}"/>')
            self.parts.append(f'<path class="box" style="fill: none" d="{shape}"/>')
        self.parts.append("</g>")

    def solid_stage(self, s: Mapping[str, Any]) -> None:
        name = s["name"]
        word = _WORDS.get(s["kind"], s["kind"])
        lanes = f"{s['simd']}x{s['pe']}" if s["simd"] and s["pe"] else f"x{s['simd'] or s['pe']}"
        second = _share(s["busy"]) + (f" · {s['resources']['dsp']} DSP" if s["resources"]["dsp"] else "")
        height, row = self.height(name), self.row[name]
        self.box(s, self.left(name), self.middle(row) - height / 2, self.box_width, height, [f"{word} {lanes}", second])

    # streams

    def chain(self, consumer: Mapping[str, Any], number: int) -> tuple[str | None, list[Mapping[str, Any]]]:
        """The solid stage that an input comes from (None: from outside) and the glyphs between, in order."""
        glyphs: list[Mapping[str, Any]] = []
        name = consumer["reads"][number] if consumer["reads"] else None
        while name is not None and self.stages[name]["kind"] in _GLYPHS:
            glyphs.insert(0, self.stages[name])
            name = self.stages[name]["reads"][0] if self.stages[name]["reads"] else None
        return name, glyphs

    def stream(self, consumer: Mapping[str, Any], source: str | None, glyphs: Sequence[Mapping[str, Any]]) -> None:
        x, row = self.left(consumer["name"]), self.row[consumer["name"]]
        y = self.middle(row)
        start = x - _GAP
        if source is None:
            self.text(_LEFT + 4, self.top(0) - 12, "pixels in", "s")
            self.wire([(_LEFT + 8, self.top(0) - 8), (_LEFT + 8, y), (x, y)])
        elif self.row[source] == row:
            start = self.left(source) + self.box_width
            self.wire([(start, y), (x, y)])
        else:
            end, above = self.left(source) + self.box_width, self.middle(self.row[source])
            turn, lane = _LEFT + 8, self.top(row) - _BETWEEN + 12
            self.wire([(end, above), (end + 10, above), (end + 10, lane), (turn, lane), (turn, y), (x, y)])
        if source is not None:
            beside = start if self.row[source] == row else self.left(source) + self.box_width
            rise = 9 if glyphs and beside == start else 4
            self.text(beside + 3, self.middle(self.row[source]) - rise, self.stages[source]["stream_bits"], "bits")
        if glyphs:
            room = _GAP / (len(glyphs) + 1)
            for number, glyph in enumerate(glyphs):
                self.glyph(glyph, x - _GAP + room * (number + 1) - 4, y)
            self.text(x - 4, y + 15, glyphs[-1]["stream_bits"], "bits", "end")

    def skip(self, consumer: Mapping[str, Any], source: str, glyphs: Sequence[Mapping[str, Any]]) -> None:
        """Past a residual block's body: over the rows' right edge, or above the row where the body has but one."""
        first, last = self.row[source], self.row[consumer["name"]]
        x, end = self.left(source) + self.box_width / 2, self.left(consumer["name"]) + self.box_width / 2
        out, into = self.top(first) - 9, self.top(last) - 9
        rail = _WIDTH - _RAIL / 2
        start = (x, self.middle(first) - self.height(source) / 2)
        stop = (end, self.middle(last) - self.height(consumer["name"]) / 2)
        run = [start, (x, out), (end, out), stop] if first == last else [
            start, (x, out), (rail, out), (rail, into), (end, into), stop]  # fmt: skip
        self.wire(run, "skip")
        self.text(x + 5, out - 3, f"{self.stages[source]['stream_bits']:,}", "bits")
        for number, glyph in enumerate(glyphs):
            if glyph["kind"] == "StreamingFIFO" and first != last:
                lines = ["FIFO", f"{glyph['depth']:,}x{glyph['stream_bits']}"]
                self.box(glyph, rail - _RAIL / 2 + 4, (out + into) / 2 - 17, _RAIL - 8, 34, lines)
            else:
                self.glyph(glyph, rail - _RAIL - 20 * (len(glyphs) - number), into)

    def label(self, row: int) -> None:
        own = [s for s in self.solid if s["layer"] == self.rows[row]]
        height, width, _ = own[-1]["shape"]
        ratio = min(44 / self.scale_width, 40 / self.scale_height)
        w, h = width * ratio, height * ratio
        y = self.middle(row)
        self.parts.append(
            f'<rect class="frame" x="{22 - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="1"/>'
        )
        form = next((c["form"] for c in self.d["convolutions"] if c["name"] == self.rows[row]), "")
        name = self.rows[row]
        self.text(50, y - 9, name if len(name) <= 13 else name[:12] + "…", "l")
        self.text(50, y + 4, form, "s")
        self.text(50, y + 16, f"{width} x {height}", "s")

    def draw(self) -> str:
        for number in range(len(self.rows)):
            self.label(number)
        for s in self.solid:
            for number in range(max(1, len(s["reads"]))):
                source, glyphs = self.chain(s, number)
                if source is not None and number == 0 and len(s["reads"]) > 1:
                    self.skip(s, source, glyphs)
                else:
                    self.stream(s, source, glyphs)
        last = self.solid[-1]["name"]
        end, y = self.left(last) + self.box_width, self.middle(self.row[last])
        read = {name for s in self.d["stages"] for name in s["reads"]}
        behind = [s for s in self.d["stages"] if s["kind"] in _GLYPHS and s["name"] not in read]
        self.wire([(end, y), (end + _GAP, y)])
        for number, glyph in enumerate(behind):
            self.glyph(glyph, end + _GAP / (len(behind) + 1) * (number + 1), y)
        self.text(end + 3, y - 4, self.stages[last]["stream_bits"], "bits")
        self.text(end + _GAP + 4, y + 3, "painting out", "s")
        for s in self.solid:
            self.solid_stage(s)
        self.mark()
        high = self.top(len(self.rows)) - _BETWEEN + 20
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {high:.0f}" role="img" '
            f'aria-label="The pipeline, stage by stage">{"".join(self.parts)}</svg>'
        )

    def mark(self) -> None:
        """Words at the stage that sets the rate."""
        name = _setting(self.d)
        if name in self.row:
            x = self.left(name) + self.box_width / 2
            self.text(x, self.middle(self.row[name]) - self.height(name) / 2 - 3.5, "sets the rate", "mark", "middle")


def pipeline_svg(description: Mapping[str, Any]) -> str:
    """The stages as a picture: well-formed SVG, with every stage in a group that has its name in ``data-stage``."""
    return _Picture(description).draw()


def render_html(description: Mapping[str, Any]) -> str:
    """The whole page as a string; reads only what :func:`describe` gave."""
    d = description
    sections = [
        _headline(d),
        "<h2>The board</h2>",
        _bars(d),
        "<h2>The pipeline</h2>",
        _work(d),
        _LEGEND,
        f'<div class="wide">{pipeline_svg(d)}</div>',
        _measured(d),
        "<h2>Convolutions</h2>",
        _convolution_table(d),
        "<h2>Where it goes</h2>",
        _kind_table(d),
        "<h2>Stages</h2>",
        _stage_table(d),
        "<h2>Memories</h2>",
        _memory_table(d),
        "<h2>What these figures are</h2>",
        _SOURCES,
    ]
    title = escape(f"{d['title']}, {d['asked']['bits']} bits, on {d['board']['title']}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )
