"""HTML pages that hold all they show: one head, one style sheet, and text that is never taken for markup.

The reports of builds, evaluations and comparisons are made from these functions. Strings are text: they are escaped
wherever they go, in an element or in an attribute. Markup is a type of its own, :class:`Markup`, and comes from
:func:`element` and the functions built on it. So a name from a foreign file can stand anywhere in a page.

A page loads nothing, and a policy in its head forbids it to: there are no scripts, and pictures are part of the page.
It follows the reader's choice of light or dark, and prints in light colours.

>>> element("p", "1 < 2, ", element("b", "really"), class_="soft").html
'<p class="soft">1 &lt; 2, <b>really</b></p>'
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

#: Elements of HTML that have no end tag, and shapes of SVG that hold nothing.
_VOID = frozenset(("br", "hr", "img", "input", "link", "meta"))
_SHAPES = frozenset(("circle", "line", "path", "polyline", "rect"))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


@dataclass(frozen=True)
class Markup:
    """A piece of HTML or SVG, well-formed by itself. It is no string, so it cannot be mixed up with text."""

    html: str


#: What an element may hold: text and numbers, which are escaped, and markup.
Content: TypeAlias = str | int | float | Markup


def escape(text: str) -> str:
    """``text`` as HTML, fit for an element and for a quoted attribute.

    Characters that cannot be printed are shown as Python writes them (an escape byte becomes ``\\x1b``), so that every
    page can be encoded and no terminal obeys it. Line ends stay; other white space becomes a space.
    """
    shown = (c if c == "\n" or c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)
    return html.escape("".join(shown))


def _html(content: Content) -> str:
    return content.html if isinstance(content, Markup) else escape(str(content))


def element(name: str, /, *content: Content, **attributes: Content | None) -> Markup:
    """``<name attributes>content</name>``.

    An attribute that is None is left out. Its name is written with ``_`` for ``-``, and with a ``_`` at its end where
    Python reserves the word: ``class_="soft"``, ``aria_label="a plot"``. Raises ValueError for names that are none,
    and for content in an element that can hold none.
    """
    names = [key.rstrip("_").replace("_", "-") for key in attributes]
    for word in (name, *names):
        if not _NAME.fullmatch(word):
            raise ValueError(f"{word!r} is no name of an element or attribute")
    pairs = zip(names, attributes.values(), strict=True)
    tag = name + "".join(f' {key}="{escape(str(value))}"' for key, value in pairs if value is not None)
    if name in _VOID or name in _SHAPES:
        if content:
            raise ValueError(f"{name} holds nothing")
        return Markup(f"<{tag}>" if name in _VOID else f"<{tag}/>")
    return Markup(f"<{tag}>{''.join(map(_html, content))}</{name}>")


def join(parts: Iterable[Content], separator: str = "") -> Markup:
    """The parts one after another, with ``separator`` (text) between them."""
    return Markup(escape(separator).join(map(_html, parts)))


def trusted(markup: str) -> Markup:
    """Markup that another library made and escaped, such as a plot of matplotlib as SVG. Never text from outside."""
    return Markup(markup)


def paragraph(*content: Content, kind: str | None = None) -> Markup:
    """A ``p``; ``kind`` is its class, such as ``soft`` for what is said in passing."""
    return element("p", *content, class_=kind)


def bullets(lines: Iterable[Content]) -> Markup:
    """A list without order."""
    return element("ul", *(element("li", line) for line in lines))


def definitions(pairs: Iterable[tuple[Content, Content]]) -> Markup:
    """Words, and beside each what it says."""
    return element(
        "dl", *(element(name, part) for pair in pairs for name, part in zip(("dt", "dd"), pair, strict=True))
    )


def folded(summary: str, *content: Content) -> Markup:
    """Content that shows when its summary is clicked."""
    return element("details", element("summary", summary), *content)


def headlines(figures: Iterable[tuple[str, str]]) -> Markup:
    """The figures that one came for, large, each with a few words below it."""
    return element("div", *(element("div", element("b", a), element("span", b)) for a, b in figures), class_="heads")


def image(data: bytes, kind: str, description: str, *, style: str | None = None) -> Markup:
    """A picture inside the page; ``kind`` is what follows ``image/`` in its media type, ``style`` its class."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=description, class_=style)


# -- tables


@dataclass(frozen=True)
class Head:
    """A column's heading. ``meaning`` shows under a pointer; columns are right-aligned unless ``left``."""

    text: str
    meaning: str = ""
    left: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell that has classes (``kind``) or properties (``style``) of its own."""

    content: Content = ""
    kind: str = ""
    style: str | None = None


@dataclass(frozen=True)
class Row:
    """A row's cells from the left, as many as there are; ``kind`` are its classes."""

    cells: Sequence[Content | Cell]
    kind: str = ""


def table(heads: Sequence[Head], rows: Iterable[Row], kind: str = "") -> Markup:
    """A table that scrolls sideways where the screen is narrower. ``kind`` are classes of the box around it.

    Raises ValueError for a row that has more cells than there are headings.
    """
    head = (element("th", h.text, title=h.meaning or None, class_="l" if h.left else None) for h in heads)
    body: list[Content] = []
    for row in rows:
        if len(row.cells) > len(heads):
            raise ValueError(f"a row of {len(row.cells)} cells under {len(heads)} headings")
        cells = []
        for column, content in zip(heads, row.cells, strict=False):
            cell = content if isinstance(content, Cell) else Cell(content)
            kinds = " ".join(filter(None, ("l" if column.left else "", cell.kind)))
            cells.append(element("td", cell.content, class_=kinds or None, style=cell.style))
        body += ["\n", element("tr", *cells, class_=row.kind or None)]
    parts = element("thead", element("tr", *head)), element("tbody", *body, "\n")
    return element("div", element("table", *parts), class_=f"wide {kind}".rstrip())


# -- the page


@dataclass(frozen=True)
class Colour:
    """A colour of the style sheet, ``var(--name)`` there, on light and on dark paper."""

    name: str
    light: str
    dark: str


#: Colours of every page: text, text in passing, lines, the paper, boxes on it, bars behind figures, what stands out.
_COLOURS = (
    Colour("ink", "#1d2126", "#e4e7ea"),
    Colour("soft", "#626a73", "#98a1ab"),
    Colour("line", "#d6dadf", "#363c43"),
    Colour("paper", "#ffffff", "#131619"),
    Colour("box", "#f5f6f8", "#1d2126"),
    Colour("fill", "#cddff2", "#274360"),
    Colour("mark", "#b3261e", "#ff8a7a"),
)
_RULES = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1.7rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; font-weight: 600; margin: 2.4rem 0 .5rem; }
h3 { font-size: .9rem; font-weight: 600; margin: 1.2rem 0 .2rem; }
p { margin: .3rem 0; max-width: 46rem; }
.soft, .soft td { color: var(--soft); }
.heads { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .9rem 1.6rem;
  margin: 1.4rem 0 0; }
.heads b { display: block; font-size: 1.7rem; font-weight: 600; line-height: 1.2; }
.heads span { color: var(--soft); font-size: .85rem; line-height: 1.3; display: block; }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .8rem; }
th { font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--ink); vertical-align: bottom; }
th, td { padding: .22rem .5rem; text-align: right; }
td { border-bottom: 1px solid var(--line); white-space: nowrap; }
th.l, td.l { text-align: left; }
tr.first td { border-top: 1px solid var(--soft); }
svg { display: block; width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .85rem; }
dt { font-weight: 600; } dd { margin: 0; color: var(--soft); }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; max-width: 46rem; }
summary { cursor: pointer; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def _style_sheet(colours: Sequence[Colour], rules: str) -> str:
    colours = (*_COLOURS, *colours)
    light = " ".join(f"--{c.name}: {c.light};" for c in colours)
    dark = " ".join(f"--{c.name}: {c.dark};" for c in colours)
    sheet = (
        f"\n:root {{ {light} color-scheme: light dark; }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ :root {{ {light} }} }}{_RULES}{rules.lstrip()}"
    )
    if "<" in sheet:
        raise ValueError("a style sheet has no <: it could end its element")
    return sheet


def page(
    title: str,
    sections: Iterable[Content],
    *,
    colours: Sequence[Colour] = (),
    rules: str = "",
    refresh: int | None = None,
) -> str:
    """A whole page.

    Args:
        title: of the browser's window.
        sections: the body, from top to bottom.
        colours: beside those of every page.
        rules: the page's own part of the style sheet, CSS. It is no text: nothing from outside belongs in it.
        refresh: seconds after which a browser loads it again, for a page of work that goes on.
    """
    again = () if refresh is None else (element("meta", http_equiv="refresh", content=str(refresh)),)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        *again,
        element("title", title),
        element("style", trusted(_style_sheet(colours, rules))),
    )
    body = element("body", "\n", join(sections, "\n"), "\n")
    return f"<!doctype html>\n{element('html', head, body, lang='en').html}\n"
