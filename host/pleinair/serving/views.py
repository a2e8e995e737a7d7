"""The page's markup, of what is there now. The same parts make the whole page and what a browser fetches again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pleinair.models import DEFAULT_STYLE
from pleinair.page import Content, Markup, element, join
from pleinair.rolls.status import Status, Trouble
from pleinair.serving.deeds import Told
from pleinair.serving.easel import StyleCard
from pleinair.serving.pictures import SMALL, Pair
from pleinair.serving.words import figures, minute, moment, said, told

#: What a day's pictures are called, and the files they are in.
DAY_PICTURES = (("strip", "strip"), ("sheet", "sheet of frames"), ("brightness", "brightness"))


_NOTHING = Told("")


@dataclass(frozen=True, kw_only=True)
class RollView:
    """A roll as it is shown: its key in addresses and its name; ``painting`` is the one looked at."""

    key: str
    name: str
    status: Status
    painting: str
    pair: Pair
    troubles: Sequence[Trouble]
    journal: Sequence[dict[str, Any]]
    #: Dates of days with a film, and of days whose strip there is, both or either.
    films: Sequence[str] = ()
    strips: Sequence[str] = ()
    #: Whether the film of the whole roll is at hand.
    film: bool = False

    def at(self, path: str = "") -> str:
        """An address within the roll."""
        return f"/roll/{quote(self.key)}/{path}"


def document(
    title: str,
    body: Iterable[Content],
    *,
    refresh: str = "",
    deeds: bool = False,
    photo: bool = False,
    begin: Sequence[str] = (),
    roll: str = "",
) -> bytes:
    """A whole page.

    Args:
        title: of the browser's window.
        body: what can change.
        refresh: the address of those parts, which are fetched again every few seconds.
        deeds: with a place to enter the token.
        photo: with a place to drop a photo.
        begin: with a place to begin a roll in one of these styles.
        roll: the address of the roll whose focus can be looked at.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="stylesheet", href="/page.css"),
        element("link", rel="icon", href="/icon.svg", type="image/svg+xml"),
        element("link", rel="apple-touch-icon", href="/icon-180.png"),
        element("link", rel="manifest", href="/page.webmanifest"),
        element("script", src="/page.js", defer=""),
    )
    lost = element("p", "No answer from the camera. What is shown is old.", id="lost", role="alert", hidden="")
    answer = element("p", "", id="answer", role="status", hidden="")
    live = element("div", *body, id="live", data_from=refresh or None)
    parts = [_focus(roll, deeds)] if roll else []
    parts += [_begin(begin)] if begin else []
    parts += [_photo()] if photo else []
    parts += [_enter()] if deeds else []
    main = element("main", lost, live, *parts, answer)
    return f"<!doctype html>\n{element('html', head, element('body', main), lang='en').html}\n".encode()


def _state(s: Status, now: float, tag: str = "p") -> Markup:
    what = said(s, now)
    word = element("strong", what.word, class_=f"state {what.tone}", role="status", aria_live="polite")
    return element(tag, word, " ", element("span", what.more, class_="more"), class_="stands")


def _time(wall: float) -> Markup:
    return element("time", moment(wall))


def _enter() -> Markup:
    token = element(
        "input", type="password", id="token", autocomplete="current-password", aria_label="Token", required=""
    )
    form = element("form", token, element("button", "Enter", type="submit"), id="enter", class_="locked")
    why = element("p", "The token was printed when the page was started.", class_="soft locked")
    leave = element("p", element("button", "Forget the token", type="button", id="leave"), class_="open")
    return element("section", element("h2", "Change something"), why, form, leave, id="permit", class_="scripted")


def _focus(roll: str, deeds: bool) -> Markup:
    figure = element("p", "No picture yet.", id="figure", role="status")
    meter = element("meter", id="meter", min=0, max=1, value=0, aria_label="Sharpness, of the best so far")
    centre = element("img", id="centre", alt="The middle of the newest picture, enlarged", hidden="")
    whole = element("img", id="whole", alt="The newest picture", hidden="")
    why = "The middle of the newest picture, three times as large. Turn the lens until the figure no longer grows."
    buttons: list[Content] = [
        _deed(f"{roll}look", "Look through the camera"),
        " ",
        _deed(f"{roll}rest", "Give the camera back"),
    ]
    through = element("p", *buttons, class_="scripted open")
    body: list[Content] = [
        element("p", why, class_="soft"),
        *([through] if deeds else ()),
        figure,
        meter,
        centre,
        whole,
    ]
    fold = element("details", element("summary", "Sharpness, and the middle enlarged"), *body, id="focus")
    return element("section", element("h2", "Focus"), fold, data_focus=f"{roll}focus", class_="scripted", id="finder")


def _begin(styles: Sequence[str]) -> Markup:
    def field(name: str, label: str, control: Markup, note: str) -> Markup:
        text = element("label", label, for_=f"new-{name}")
        return element("p", text, control, element("small", note, id=f"about-{name}", class_="soft"))

    def entry(name: str, value: str = "", **more: str) -> Markup:
        named = {"id": f"new-{name}", "name": name, "aria_describedby": f"about-{name}", "required": "", **more}
        return element("input", type="text", value=value or None, autocomplete="off", spellcheck="false", **named)

    options = [element("option", style, selected="" if style == DEFAULT_STYLE else None) for style in styles]
    style = element("select", *options, id="new-style", name="style", aria_describedby="about-style")
    kinds = [element("option", value=kind) for kind in ("pi", "v4l2:0", "gphoto2", "http://", "rtsp://", "synthetic")]
    form = element(
        "form",
        field("name", "Name", entry("name", maxlength="60"), "of its folder"),
        field("camera", "Camera", entry("camera", list="cameras"), "pi, v4l2:0, gphoto2, or http://..., rtsp://..."),
        element("datalist", *kinds, id="cameras"),
        field("style", "Style", style, "to paint it in"),
        field("every", "A frame every", entry("every", "10s"), "such as 10s, 5m or 1h"),
        element("p", element("button", "Begin filming", type="submit")),
        id="begin",
    )
    return element("section", element("h2", "A new roll"), form, id="new", class_="scripted open")


def _photo() -> Markup:
    choose = element("input", type="file", accept="image/*", id="file")
    label = element("label", element("span", "Drop a photo here, or choose one: "), choose, id="drop")
    grid = element("ul", id="painted", class_="styles")
    return element("section", element("h2", "A photo in every style"), label, grid, id="photo", class_="scripted open")


# -- one roll


def roll_parts(
    view: RollView,
    now: float,
    *,
    alone: bool,
    last: Told = _NOTHING,
    styles: Sequence[StyleCard] = (),
    deeds: bool = False,
) -> list[Markup]:
    """The parts of a roll's page, each with an id of its own.

    Args:
        view: the roll.
        now: the wall clock's time.
        alone: there is no list to go back to.
        last: what there is to say of the last command that the page began for it.
        styles: what it can be painted in.
        deeds: with what changes something, for who has the token.
    """
    s = view.status
    camera = f"{s.camera}, {s.size[0]}x{s.size[1]}"
    back = Markup("") if alone else element("a", "all rolls", href="/", class_="back")
    head = element("header", back, element("h1", view.name), element("span", camera, class_="soft"), id="head")
    parts = [
        head,
        element("div", _state(s, now), id="state"),
        element("div", element("p", last.text, class_="bad" if last.wrong else None) if last.text else "", id="last"),
        *([_deeds(view)] if deeds else ()),
        _pair(view),
        element("dl", *map(_figure, figures(s)), id="figures"),
        _troubles(view.troubles),
    ]
    if view.film:
        film = _film(view.at("film"), "The whole film")
        parts.append(element("section", element("h2", "Film"), film, id="film"))
    if view.films or view.strips:
        days = sorted({*view.films, *view.strips}, reverse=True)
        shown = [_day(view, day) for day in days]
        parts.append(element("section", element("h2", "Days"), *shown, id="days"))
    if styles:
        parts.append(_styles(styles, view if deeds and s.state not in _BUSY else None))
    rows = [_row(r.get("wall"), str(r.get("event")), told(r)) for r in reversed(view.journal)]
    parts.append(element("section", element("h2", "Journal"), element("table", element("tbody", *rows)), id="journal"))
    return parts


#: States in which a process has the roll.
_BUSY = ("running", "asleep", "in use")


def _deeds(view: RollView) -> Markup:
    """What can be done to a roll in the state it is in."""
    s = view.status
    if s.state in _BUSY:
        what = "Stop" if s.state == "in use" else "Stop filming"
        button = _deed(view.at("stop"), what, ask=f"{what}? {view.name} can go on later.")
    elif s.state == "complete":
        button = _deed(view.at("start"), "Paint the rest") if s.pending else Markup("")
    else:
        button = _deed(view.at("start"), "Start filming" if s.state == "new" else "Go on filming")
    return element("div", button, id="deeds", class_="scripted open")


def _deed(address: str, text: str, *, body: str = "", ask: str = "") -> Markup:
    """A button that asks for a change."""
    return element("button", text, type="button", data_post=address, data_body=body or None, data_ask=ask or None)


def _styles(cards: Sequence[StyleCard], view: RollView | None) -> Markup:
    """What the styles look like; those of a roll that can be painted in them have a button."""
    shown = []
    for card in cards:
        image = element("p", "No picture yet.", class_="none")
        if card.thumbnail:
            address = f"/styles/{quote(card.name)}.jpg"
            image = element("img", src=address, alt=f"Painted in {card.name}", width=300, height=200, loading="lazy")
        words: list[Content] = [element("h3", card.name), element("p", card.title, class_="soft")]
        if view is not None and card.rolls:
            ask = f"Paint {view.name} again in {card.name}? The paintings that it has stay."
            button = _deed(view.at("repaint"), "Repaint in it", body=card.name, ask=ask)
            words.append(element("p", button, class_="scripted open"))
        shown.append(element("li", image, element("div", *words)))
    return element("section", element("h2", "Styles"), element("ul", *shown, class_="styles"), id="styles")


def _row(wall: object, what: str, text: str) -> Markup:
    when = moment(wall) if isinstance(wall, (int, float)) and wall > 0 else ""
    return element("tr", *(element("td", part) for part in (when, what, text)))


def _figure(figure: Any) -> Markup:
    note = element("small", figure.note)
    return element(
        "div", element("dt", figure.name), element("dd", figure.value, " ", note, class_=figure.tone or None)
    )


def _pair(view: RollView) -> Markup:
    pair, s = view.pair, view.status
    width, height = s.size
    if not pair.tag:
        text = "No frame yet." if not s.frames else "No picture is left on this roll."
        return element("figure", element("p", text, class_="none"), id="pair")

    def picture(which: str, there: bool, without: str) -> Markup:
        if not there:
            return element("p", without, class_=f"none {which}")
        shown = view.at(f"shown/{quote(view.painting)}/{pair.tag}-{which}.jpg")
        text = f"The {which} of frame {pair.seq}"
        return element("img", src=shown, alt=text, width=width, height=height, class_=which)

    both = pair.original and pair.painting
    pictures = [
        picture("original", pair.original, "The original of this frame was deleted to make room."),
        picture("painting", pair.painting, "Nothing is painted yet."),
    ]
    slider = element(
        "input", type="range", min=0, max=100, value=50, aria_label="Between original and painting", class_="slider"
    )
    over = [slider, element("span", class_="bar")] if both else []
    tags = [element("span", name, class_=f"tag {name}") for name in ("original", "painting")]
    box = element("div", *pictures, *over, *tags, class_="pair both" if both else "pair")
    return element("figure", box, element("figcaption", *_caption(view)), id="pair", data_tag=pair.tag)


def _caption(view: RollView) -> list[Content]:
    pair, s = view.pair, view.status
    when: list[Content] = [", taken ", _time(pair.wall)] if pair.wall is not None else []
    text: list[Content] = [f"Frame {pair.seq:,}", *when, ". "]
    if pair.painting:
        by = f" by {s.painter}" if s.painter and view.painting == s.look else ""
        text.append(f"Painted as {view.painting}{by}. ")
        if pair.tag.startswith("m") and pair.original:
            text.append("The painting does not say of which frame it is; it may be of an earlier one. ")
    links: list[Content] = []
    if pair.original:
        links.append(_open_and_save("original", view.at(f"original/{pair.seq}")))
    if pair.painting:
        links.append(_open_and_save("painting", view.at(f"painting/{quote(view.painting)}/{pair.tag}")))
    if len(s.paintings) > 1:
        others = [
            element("a", name, href=f"?painting={quote(name)}", aria_current="true" if name == view.painting else None)
            for name in s.paintings
        ]
        links.append(element("span", "Paintings: ", join(others, " "), class_="choice"))
    return [*text, element("span", *links, class_="links")]


def _open_and_save(what: str, address: str) -> Markup:
    """Links to a picture in its full size."""
    opened = element("a", "open", href=address, target="_blank", aria_label=f"Open the {what} in full size")
    save = element("a", "save", href=address, download="", aria_label=f"Save the {what} in full size")
    return element("span", f"{what.capitalize()}: ", opened, " ", save)


def _troubles(found: Sequence[Trouble]) -> Markup:
    body = element("p", "None.", class_="none")
    if found:
        rows = [_row(e.wall, e.what, e.message) for e in found]
        body = element("table", element("tbody", *rows))
    return element("section", element("h2", "Troubles"), body, id="troubles")


def _film(address: str, name: str) -> Markup:
    player = element("video", src=address, controls="", playsinline="", preload="none")
    save = element("p", element("a", "save", href=address, download="", aria_label=f"Save: {name}"))
    return element("details", element("summary", name), player, save, class_="film")


def _day(view: RollView, day: str) -> Markup:
    parts: list[Content] = [element("h3", day)]
    if day in view.strips:
        strip = view.at(f"days/{day}-strip.png")
        image = element("img", src=strip, alt=f"Strip of {day}: a column of each frame", loading="lazy")
        parts.append(element("a", image, href=strip, target="_blank"))
        links = [
            element("a", text, href=view.at(f"days/{day}-{name}.png"), target="_blank") for name, text in DAY_PICTURES
        ]
        parts.append(element("p", join(links, " "), class_="links"))
    if day in view.films:
        parts.append(_film(view.at(f"days/{day}.mp4"), f"Film of {day}"))
    return element("article", *parts, class_="day")


# -- all rolls


def shelf_parts(
    views: Iterable[RollView | tuple[str, str]], now: float, folder: str, styles: Sequence[StyleCard] = ()
) -> list[Markup]:
    """The parts of the list of rolls; a roll that cannot be shown is its name and why."""
    cards = [_card(view, now) if isinstance(view, RollView) else _refused(*view) for view in views]
    body = element("ul", *cards, class_="shelf") if cards else element("p", "No roll is in it yet.", class_="none")
    head = element("header", element("h1", "pleinair"), element("span", f"rolls in {folder}", class_="soft"), id="head")
    return [head, element("section", body, id="rolls"), *([_styles(styles, None)] if styles else ())]


def _card(view: RollView, now: float) -> Markup:
    s, pair = view.status, view.pair
    image: Markup = element("p", "No picture yet.", class_="none")
    if pair.tag:
        shown = view.at(f"shown/{quote(view.painting)}/{pair.tag}-small.jpg")
        height = max(1, round(s.size[1] * SMALL / s.size[0]))
        what = "painting" if pair.painting else "frame"
        image = element("img", src=shown, alt=f"The newest {what}", width=SMALL, height=height, loading="lazy")
    counts = f"{s.frames:,} frames, {s.painted:,} painted" + (f", {s.troubles:,} troubles" if s.troubles else "")
    since = element("span", f"since {minute(s.begun)}" if s.begun > 0 else "", class_="once")
    words = [element("h2", view.name), _state(s, now), element("p", counts, " ", since, class_="soft")]
    return element("li", element("a", image, element("div", *words), href=view.at()))


def _refused(name: str, why: str) -> Markup:
    return element("li", element("div", element("h2", name), element("p", f"Not shown: {why}", class_="bad")))
