"""The report of an evaluation: a folder of tables and pictures, complete in itself.

``scores.csv`` (a row a network, every figure in full), ``table.md``, ``grid.png`` (photos x widths x styles),
``sheet.png`` (every style on the same pictures), ``curves.png`` (losses while runs trained) and ``report.html``,
which holds all of these and needs nothing from elsewhere. Titles and licences come from cards and names from the
file system, so they may be any text; :mod:`pleinair.page` escapes it.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from rich import box
from rich.table import Table
from rich.text import Text

from pleinair.errors import OutputError
from pleinair.images import check_writable, decode_image, write_bytes
from pleinair.page import Head, Markup, Row, definitions, element, folded, image, join, page, paragraph, table
from pleinair.text import one_line
from pleinair_training.evaluation import GRID_PHOTOS, PHOTOS, Evaluation, Score, Subject
from pleinair_training.loss_network import CONTENT_LAYER, STYLE_LAYERS
from pleinair_training.trainer import Settings, run_record

_CELL = (240, 160)
_GAP, _LABEL, _HEAD, _LETTERS = 6, 210, 36, 22
_DPI = 100
#: Steps over which the curves' losses are averaged: crops are random, and in fewer their luck is all one sees.
_SMOOTH = 100
_STAGE_COLOURS = {"parent": "#999999", "plain": "#222222", "16bit": "#1b7837", "8bit": "#2166ac", "4bit": "#d6604d"}
_NAMES = {PHOTOS: "the photos themselves", "plain": "float", "32bit": "float", "parent": "parent"}


@dataclass(frozen=True)
class Column:
    """A column of the tables: its heading, what it says, and a score's text in it (empty where unknown).

    ``console`` is its heading on the console; "" leaves it out there, where a row has no more than 80 characters.
    """

    heading: str
    meaning: str
    text: Callable[[Score], str]
    console: str = ""


def _figure(name: str, form: str) -> Callable[[Score], str]:
    def text(score: Score) -> str:
        value = getattr(score, name)
        return "" if value is None else format(value, form)

    return text


def _border(score: Score) -> str:
    return f"{round(score.border, 1) + 0.0:.1f}"  # never -0.0


def network_label(name: str) -> str:
    """``8bit`` as ``8 bits``, the float networks of runs and models both as ``float``."""
    return _NAMES.get(name) or name.replace("bit", " bits")


# fmt: off
COLUMNS = (
    Column("style", "the run's or model's name", lambda s: s.subject),
    Column("network", "float without norm, its parent with instance norm, or bits", lambda s: network_label(s.network)),
    Column("content", "content loss", _figure("content", ",.0f"), console="content"),
    Column("style loss", "style loss", _figure("style", ",.0f"), console="style"),
    Column("total", "their sum", _figure("total", ",.0f"), console="total"),
    Column("to float", "the sum as a multiple of the float network's", _figure("ratio", ".3f"), console="ratio"),
    Column("SSIM", "structural similarity to the float network's paintings", _figure("ssim", ".3f"), console="SSIM"),
    Column("distance", "distance to them in VGG features, unweighted (Zhang et al. 2018)", _figure("distance", ".3f")),
    Column("to parent", "structural similarity to the float parent's paintings", _figure("parent_ssim", ".3f")),
    *(
        Column(
            f"L r{blur}",
            f"correlation of L* with the photo's, both blurred by {blur} pixels",
            _figure(f"l_correlation_{blur}", ".2f"),
            console="L r" if blur == 16 else "",
        )
        for blur in (4, 16, 40)
    ),
    *(
        Column(
            f"L sd{blur}",
            f"deviation of L*, blurred by {blur} pixels, as a multiple of the photo's",
            _figure(f"l_spread_{blur}", ".2f"),
            console="L sd" if blur == 16 else "",
        )
        for blur in (4, 16, 40)
    ),
    Column(
        "ab r16",
        "correlation of a* and b* with the photo's, blurred by 16 pixels",
        _figure("chroma_correlation_16", ".2f"),
    ),
    Column("flicker", "change between successive frames where nothing moves, grey levels", _figure("flicker", ".2f")),
    Column("to input", "that as a multiple of the sequence's own", _figure("flicker_ratio", ".2f"), console="flick"),
    Column("film", "flicker with the host's steadying", _figure("film_flicker", ".2f")),
    Column("film to input", "that as a multiple of the sequence's own", _figure("film_ratio", ".2f"), console="film"),
    Column(
        "moving",
        "change between successive frames where something moves, as a multiple of the sequence's own",
        _figure("moving_ratio", ".2f"),
    ),
    Column("border", "how much more the edge stands out than the interior, grey levels", _border, console="edge"),
    Column("bytes", "size of the network's file", _figure("bytes", ",d")),
    Column("MAC/px", "multiply-accumulates per pixel", _figure("macs_per_pixel", ",.0f")),
    Column("width", "channels after the first convolution", _figure("width", "")),
    Column("blocks", "residual blocks", _figure("blocks", "")),
    Column("steps", "steps of training in this stage", _figure("steps", ",")),
    Column("minutes", "minutes of training in this stage", _figure("minutes", ".0f")),
    Column("photos", "held-out photos measured on", _figure("photos", "")),
)
# fmt: on

#: Characters of the longest network's name.
_LONGEST = 7


def score_table(evaluation: Evaluation) -> tuple[list[Column], list[list[str]]]:
    """The columns in which something is known, and a row of texts for each score."""
    columns = [c for c in COLUMNS if any(c.text(s) for s in evaluation.scores)]
    return columns, [[c.text(s) for c in columns] for s in evaluation.scores]


def console_table(evaluation: Evaluation) -> Table:
    """The figures that matter most, in 80 columns.

    L is the light after a blur of 16 pixels; flickers are multiples of the sequence's own.
    """
    figures = [c for c in COLUMNS if c.console and any(c.text(score) for score in evaluation.scores)]
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("network", overflow="fold", min_width=_LONGEST)
    for column in figures:
        table.add_column(column.console, justify="right", no_wrap=True)
    for score in evaluation.scores:
        if score.network == PHOTOS:
            table.add_section()
            table.add_row(Text(one_line(score.subject), style="bold"))
        label = "photos" if score.network == PHOTOS else network_label(score.network)
        table.add_row(label, *(column.text(score) for column in figures))
    return table


def write_report(evaluation: Evaluation, out: Path) -> None:
    """Write the files into the folder ``out``, each whole or not at all. Raises OutputError."""
    grid, sheet, curves = grid_picture(evaluation), sheet_picture(evaluation), curves_picture(evaluation.subjects)
    files = {
        "scores.csv": scores_csv(evaluation.scores),
        "table.md": markdown(evaluation),
        "grid.png": grid,
        "sheet.png": sheet,
        "report.html": html_page(evaluation, sheet, curves),
    }
    make_folder(out)
    if curves is None:
        (out / "curves.png").unlink(missing_ok=True)  # an earlier report's
    else:
        files["curves.png"] = curves
    for name, data in files.items():
        write_bytes(out / name, data)


def make_folder(out: Path) -> None:
    """Make the report's folder unless it is there. Raises OutputError when files could not be put into it."""
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror}", option="out") from error
    check_writable(out / "report.html")


# -- tables


def scores_csv(scores: Iterable[Score]) -> bytes:
    """Every field of every score and the total; unknown ones are empty."""
    names = [f.name for f in fields(Score)]
    names.insert(names.index("style") + 1, "total")
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    for score in scores:
        values = [getattr(score, name) for name in names]
        writer.writerow([one_line(v) if isinstance(v, str) else v for v in values])
    return file.getvalue().encode()


def markdown(evaluation: Evaluation) -> bytes:
    """The scores as a Markdown table."""
    columns, rows = score_table(evaluation)

    def line(cells: Iterable[str]) -> str:
        # HTML is Markdown too.
        escaped = (html.escape(one_line(c), quote=False).replace("\\", "\\\\").replace("|", "\\|") for c in cells)
        return f"| {' | '.join(escaped)} |\n"

    head = line(c.heading for c in columns) + line("---" if i < 2 else "---:" for i in range(len(columns)))
    return (head + "".join(map(line, rows))).encode()


# -- pictures


def _figure_bytes(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return file.getvalue()


def contact_sheet(
    columns: Sequence[str], rows: Sequence[tuple[str, Sequence[np.ndarray | None]]], cell: tuple[int, int] = _CELL
) -> bytes:
    """Labelled pictures in rows and columns as PNG; ``cell`` is (width, height), a missing picture stays white."""
    width = _LABEL + len(columns) * (cell[0] + _GAP)
    height = _HEAD + len(rows) * (cell[1] + _GAP)
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)

    def say(text: str, x: float, y: float, **options: Any) -> None:
        lines = [one_line(line) for line in text.split("\n")]
        text = "\n".join(line if len(line) <= _LETTERS else f"{line[: _LETTERS - 3]}..." for line in lines)
        figure.text(x / width, 1 - y / height, text, fontsize=12.5, va="center", parse_math=False, **options)

    for j, label in enumerate(columns):
        say(label, _LABEL + j * (cell[0] + _GAP) + cell[0] / 2, _HEAD / 2, ha="center")
    for i, (label, pictures) in enumerate(rows):
        top = _HEAD + i * (cell[1] + _GAP)
        say(label, _LABEL - 8, top + cell[1] / 2, ha="right")
        for j, picture in enumerate(pictures):
            if picture is not None:
                left = _LABEL + j * (cell[0] + _GAP)
                small = cv2.resize(picture, cell, interpolation=cv2.INTER_AREA)
                canvas[top : top + cell[1], left : left + cell[0]] = small
    figure.figimage(canvas, origin="upper", zorder=-1)
    return _figure_bytes(figure)


def _grid(evaluation: Evaluation, subject: Subject) -> list[tuple[str, list[np.ndarray]]]:
    """Columns of a subject's grid: label and pictures, the originals first."""
    originals = [image for _, image in evaluation.originals[:GRID_PHOTOS]]
    painted = evaluation.pictures[subject.name].grid
    return [("photo", originals), *((network_label(name), pictures) for name, pictures in painted.items())]


def grid_picture(evaluation: Evaluation) -> bytes:
    """Photos x widths x styles as PNG: a row for each style and photo, a column for each kind of network."""
    grids = {s.name: dict(_grid(evaluation, s)) for s in evaluation.subjects}
    order = ("photo", "parent", "float", *(f"{bits} bits" for bits in (16, 8, 4)))
    columns = [label for label in order if any(label in grid for grid in grids.values())]
    rows = [
        (name, [grid[label][i] if label in grid else None for label in columns])
        for name, grid in grids.items()
        for i in range(len(grid["photo"]))
    ]
    return contact_sheet(columns, rows)


def sheet_picture(evaluation: Evaluation) -> bytes:
    """The originals and, below, what every subject's preferred network makes of them, as PNG."""
    labels, images = zip(*evaluation.originals, strict=True)
    rows: list[tuple[str, Sequence[np.ndarray | None]]] = [("originals", images)]
    for subject in evaluation.subjects:
        pictures = evaluation.pictures[subject.name]
        label = one_line(subject.name) + "\n" + network_label(pictures.preferred)
        rows.append((label, pictures.sheet))
    return contact_sheet(labels, rows)


def _read_losses(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """A run's losses by stage and name, averaged over steps; none without a log."""
    stages: dict[str, list[tuple[float, float]]] = {}
    try:
        with (folder / "losses.csv").open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                try:
                    stages.setdefault(row["stage"], []).append((float(row["content"]), float(row["style"])))
                except (KeyError, TypeError, ValueError):
                    continue  # the last line of a run that was cut off
    except (OSError, csv.Error):
        return {}
    smooth: dict[str, dict[str, np.ndarray]] = {}
    for stage, rows in stages.items():
        values, window = np.array(rows), min(_SMOOTH, max(1, len(rows) // 4))
        means = [np.convolve(v, np.full(window, 1 / window), "valid") for v in values.T]
        smooth[stage] = {"step": np.arange(window, len(rows) + 1), "content": means[0], "style": means[1]}
    return smooth


def _plot_run(axes: Sequence[Axes], stages: dict[str, dict[str, np.ndarray]], style_weight: float) -> None:
    """Content and style over all stages; the weighted sum of the quantised ones against where the float one ended."""
    begin = 0
    for stage in ("parent", "plain", *(s for s in _STAGE_COLOURS if s.endswith("bit"))):
        if stage not in stages:
            continue
        losses = stages[stage]
        look: dict[str, Any] = {"color": _STAGE_COLOURS[stage], "label": network_label(stage), "lw": 1.2}
        for axis, name in zip(axes, ("content", "style"), strict=False):
            axis.plot(begin + losses["step"], losses[name], **look)
        total = losses["content"] + style_weight * losses["style"]
        if stage.endswith("bit"):
            axes[2].plot(losses["step"], total, **look)
        else:
            begin += int(losses["step"][-1])
        if stage == "plain":
            axes[2].axhline(total[-1], color=look["color"], ls="--", lw=1, label="float, at its end")


def curves_picture(subjects: Iterable[Subject]) -> bytes | None:
    """Losses while the runs among the subjects trained, as PNG; None when there is no run with a log."""
    runs = [(s, losses) for s in subjects if s.style is not None and (losses := _read_losses(s.folder))]
    if not runs:
        return None
    figure = Figure(figsize=(13, 0.6 + 2.9 * len(runs)), dpi=_DPI, layout="constrained")
    grid = figure.subplots(len(runs), 3, squeeze=False)
    for axes, (subject, stages) in zip(grid, runs, strict=True):
        settings = Settings(**run_record(subject.folder)["settings"])
        _plot_run(axes, stages, settings.style_weight)
        titles = ("content loss", "style loss", f"quantised: content + {settings.style_weight:g} x style")
        for axis, title in zip(axes, titles, strict=True):
            axis.set_title(f"{one_line(subject.name)}: {title}", fontsize=10, parse_math=False)
            if title == "style loss":
                axis.set_yscale("log")
                axis.yaxis.set_major_locator(MaxNLocator(6))
                axis.yaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:,g}k")
            axis.grid(alpha=0.3)
            axis.tick_params(labelsize=8)
            axis.set_xlabel("step", fontsize=8)
            if axis.lines:
                axis.legend(fontsize=8, frameon=False)
    return _figure_bytes(figure)


# -- the page

_RULES = """
body { max-width: 96rem; }
th:nth-child(-n+2) { white-space: nowrap; }
tr.photos td { color: var(--soft); }
.pictures th, .pictures td { padding: 2px 4px; text-align: center; border: 0; }
.pictures img { display: block; width: 100%; min-width: 150px; max-width: 384px; }
img.full { display: block; max-width: 100%; }
"""


def _jpeg(picture: np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 86])
    return data.tobytes()


def _html_table(evaluation: Evaluation) -> Markup:
    columns, texts = score_table(evaluation)
    heads = [Head(c.heading, c.meaning, left=i < 2) for i, c in enumerate(columns)]
    rows = [
        Row([one_line(text) for text in row], kind="first photos" if score.network == PHOTOS else "")
        for score, row in zip(evaluation.scores, texts, strict=True)
    ]
    meanings = definitions((c.heading, c.meaning) for c in columns[2:])
    return join([table(heads, rows), folded("What the columns say", meanings)])


def _subject_section(evaluation: Evaluation, subject: Subject) -> Markup:
    grid = _grid(evaluation, subject)
    rows = []
    for i, (photo, _) in enumerate(evaluation.originals[:GRID_PHOTOS]):
        rows.append(Row([image(_jpeg(pictures[i]), "jpeg", f"{one_line(photo)}, {label}") for label, pictures in grid]))
    about = ", ".join(part for part in (subject.title or subject.painting, subject.licence) if part)
    return join(
        [
            element("h2", one_line(subject.name)),
            paragraph(one_line(about)),
            table([Head(label) for label, _ in grid], rows, kind="pictures"),
        ]
    )


def html_page(evaluation: Evaluation, sheet: bytes, curves: bytes | None) -> bytes:
    """The page; ``sheet`` and ``curves`` as PNG."""
    kind = evaluation.loss_network
    sections = [
        element("h1", "Evaluation on photos that training never saw"),
        paragraph(
            f"Photos at 384 x 256; {kind.upper()}, content at {CONTENT_LAYER[kind]}, style at "
            f"{', '.join(STYLE_LAYERS[kind])}, unbalanced, with the painting at 384 pixels. Lower is better, but for "
            "SSIM.",
            kind="soft",
        ),
        _html_table(evaluation),
        element("h2", "Every style on the same pictures"),
        image(_jpeg(decode_image(sheet, "sheet")), "jpeg", "contact sheet", style="full"),
    ]
    if curves is not None:
        sections += [
            element("h2", "Losses while training"),
            paragraph(f"In the units of training, means over {_SMOOTH} steps.", kind="soft"),
            image(curves, "png", "loss curves", style="full"),
        ]
    sections += [_subject_section(evaluation, subject) for subject in evaluation.subjects]
    return page("pleinair: evaluation", sections, rules=_RULES).encode("utf-8")
