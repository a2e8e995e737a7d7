"""Pages: whatever text goes in comes out as text, read back by the standard library's own parsers."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pleinair import page
from pleinair.page import Cell, Colour, Head, Markup, Row, element, table

HOSTILE = (
    "<script>alert(1)</script>",
    "</title></style><script>",
    '" onload="alert(1)',
    "' onload='alert(1)",
    "&amp; & &lt;",
    "<!-- ]]>",
    "夜 — Vétheuil",
)


class Read(HTMLParser):
    """What a browser would see: elements with their attributes, text, and tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_text_in_elements_and_attributes(text: str) -> None:
    made = element("p", text, element("b", text), title=text, class_="soft", data_stage=text)
    read = Read(made.html)
    assert read.elements == [("p", {"title": text, "class": "soft", "data-stage": text}), ("b", {})]
    assert read.text == text + text
    # XML's parser, which forgives nothing, reads the same.
    tree = ElementTree.fromstring(made.html)
    assert tree.text == tree[0].text == tree.get("title") == text


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_text_wherever_a_page_takes_it(text: str) -> None:
    sections = [
        text,
        page.paragraph(text, kind=text),
        page.bullets([text]),
        page.definitions([(text, text)]),
        page.folded(text, text),
        page.headlines([(text, text)]),
        page.image(b"1", "png", text, style=text),
        table([Head(text, text)], [Row([text], kind=text), Row([Cell(text, text, text)])], kind=text),
        page.join([text, text], text),
    ]
    read = Read(page.page(text, sections))
    elements = "html head meta meta meta title style body p ul li dl dt dd details summary div div b span img"
    elements += " div table thead tr th tbody tr td tr td"
    assert read.tags == elements.split()
    # Title; one each of text, paragraph, bullet; two of definition, folded, headline; three of table and join.
    assert read.text.count(text) == 1 + 3 + 2 * 3 + 3 * 2
    names = {name for _, attributes in read.elements for name in attributes}
    assert names == {"lang", "charset", "name", "content", "http-equiv", "class", "src", "alt", "title", "style"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("nul\0", "nul\\x00"),
        ("delete\x7f", "delete\\x7f"),
        ("right to left \u202e", "right to left \\u202e"),
        ("lone \ud800", "lone \\ud800"),
        ("two\nlines", "two\nlines"),
        (" tab\tand\u00a0space ", " tab and space "),
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    made = element("p", text, title=text)
    assert made.html.encode()
    read = Read(made.html)
    assert read.text == shown and read.elements[0][1]["title"] == shown


def test_markup_is_no_string() -> None:
    bold = element("b", "x")
    assert not isinstance(bold, str)
    assert element("p", bold).html == "<p><b>x</b></p>"
    # Mixed into a string by mistake, it shows as text and makes no element.
    assert Read(element("p", f"{bold}").html).tags == ["p"]
    assert element("p", 3, 1.5).html == "<p>31.5</p>"


def test_only_names_are_names() -> None:
    for name in ("p><script", "", "1", "p onload", "p/"):
        with pytest.raises(ValueError, match="no name of an element"):
            element(name)
        with pytest.raises(ValueError, match="no name of an element"):
            element("p", **{name or "_": "x"})
    with pytest.raises(ValueError, match="holds nothing"):
        element("br", "x")
    assert element("rect", x=1, stroke_width="2", rx=None).html == '<rect x="1" stroke-width="2"/>'


def test_a_table_keeps_its_cells_under_their_headings() -> None:
    heads = [Head("name", left=True), Head("figure", "what it counts")]
    rows = [Row(["a", 1]), Row(["all", Cell(2, "b", "--w: 5%")], kind="sum"), Row(["short"])]
    box = ElementTree.fromstring(table(heads, rows, kind="narrow").html)
    assert box.tag == "div" and box.get("class") == "wide narrow"
    found = [[(cell.tag, cell.text, cell.get("class")) for cell in row] for row in box.iter("tr")]
    assert found == [
        [("th", "name", "l"), ("th", "figure", None)],
        [("td", "a", "l"), ("td", "1", None)],
        [("td", "all", "l"), ("td", "2", "b")],
        [("td", "short", "l")],
    ]
    assert [row.get("class") for row in box.iter("tr")] == [None, None, "sum", None]
    assert [cell.get("title") for cell in box.iter("th")] == [None, "what it counts"]
    assert [cell.get("style") for cell in box.iter("td")] == [None, None, None, "--w: 5%", None]
    with pytest.raises(ValueError, match="3 cells under 2 headings"):
        table(heads, [Row([1, 2, 3])])


def _colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", block))


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_dark_mode_has_every_colour_and_can_be_read() -> None:
    text = page.page("t", [], colours=[Colour("own", "#102030", "#a0b0c0")], rules=".x { color: var(--own); }")
    light = _colours(text[text.index(":root") : text.index("@media")])
    dark = _colours(re.search(r"@media \(prefers-color-scheme: dark\) \{ :root \{(.*?)\} \}", text)[1])
    printed = _colours(re.search(r"@media print \{ :root \{(.*?)\} \}", text)[1])
    assert light.keys() == dark.keys() == printed.keys() and printed == light
    assert (light["own"], dark["own"]) == ("#102030", "#a0b0c0")
    assert "color-scheme: light dark" in text and text.index("prefers-color-scheme") < text.index("@media print")
    # What the rules name is there; text has the contrast that WCAG asks of small print.
    assert set(re.findall(r"var\(--([a-z0-9]+)\)", text)) <= light.keys()
    for colours in (light, dark):
        for ink in ("ink", "soft", "mark"):
            a, b = sorted((_luminance(colours[ink]), _luminance(colours["paper"])))
            assert (b + 0.05) / (a + 0.05) >= 4.5, ink


def test_a_page_loads_nothing() -> None:
    text = page.page("t", [page.image(b"\x89PNG", "png", "a picture")])
    assert text.startswith("<!doctype html>\n") and text.endswith("</html>\n")
    (policy,) = [a["content"] for _, a in Read(text).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none';") and "script" not in policy
    assert 'src="data:image/png;base64,iVBORw=="' in text and "url(" not in text and "//" not in text


def test_a_style_sheet_cannot_end_its_element() -> None:
    with pytest.raises(ValueError, match="style sheet"):
        page.page("t", [], rules="</style><script>alert(1)</script>")


def test_the_module_stands_on_the_standard_library() -> None:
    tree = ast.parse(Path(page.__file__).read_text())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    names |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert names == {"__future__", "base64", "collections.abc", "dataclasses", "html", "re", "typing"}


def test_what_is_trusted_stays_as_it_is() -> None:
    assert element("figure", page.trusted("<svg></svg>")) == Markup("<figure><svg></svg></figure>")
