"""How a film is cut: the options that ``finish`` and ``repaint`` have in common, and the film that they ask for."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cli.console import Bars, remark, say
from pleinair.cli.options import PATH
from pleinair.cli.types import DAYS, DURATION, FPS, ROLL, SIZE, STEP, STYLE, OneOf, Whole
from pleinair.errors import OptionError
from pleinair.films.card import CARD_SECONDS, HALF, SPLITS
from pleinair.films.choice import MAX_BLEND, Choice
from pleinair.films.rate import Rate, length_text
from pleinair.films.recorder import films_put_aside
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS

if TYPE_CHECKING:
    from pleinair.rolls.cut import Cut, Reel

_day_option = click.option(
    "--day", "days", type=DAYS, help="Show this day, such as 2026-11-25, or several with commas."
)
_since_option = click.option(
    "--from", "since", metavar="HH:MM|DATE", help="Show each day from this time on, or from a date on."
)
_until_option = click.option("--until", metavar="HH:MM|DATE", help="Show each day until this time, or until a date.")
_options = (
    click.option("--length", type=DURATION, help="Length of the film, such as 60s: frames are chosen evenly in time."),
    click.option("--fps", type=FPS, show_default="as painted", help="Frames per second of the film."),
    click.option("--every", type=STEP, help="Show every N-th frame, or one for every TIME, such as 10m."),
    _day_option,
    _since_option,
    _until_option,
    click.option("--size", type=SIZE, help="Size of the film in pixels; by default that of its first frame."),
    click.option(
        "--blend",
        type=Whole(1, MAX_BLEND),
        default=1,
        show_default=True,
        help="Average each frame with its neighbours, N in all.",
    ),
    click.option("--original", is_flag=True, help="Show the originals, not the paintings."),
    click.option(
        "--split",
        type=OneOf(*SPLITS),
        is_flag=False,
        flag_value=HALF,
        help="Show original and painting: the left and right half of one picture, or both beside each other.",
    ),
    click.option("--title", metavar="TEXT", help=f"Show a card with this title for the first {CARD_SECONDS} seconds."),
    click.option("--timestamp", is_flag=True, help="Write its time on each frame."),
    click.option("--preview-image", type=PATH, help="Also write a small moving picture of the film: .webp or .gif."),
)


def cut_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a film's cut; the command gets them all as keywords, for :class:`Wanted`."""
    for option in reversed(_options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Wanted:
    """The film that was asked for, in the words of the command line."""

    length: float | None = None
    fps: Rate | None = None
    every: int | float | None = None
    days: tuple[datetime.date, ...] | None = None
    since: str | None = None
    until: str | None = None
    size: tuple[int, int] | None = None
    blend: int = 1
    original: bool = False
    split: str | None = None
    title: str | None = None
    timestamp: bool = False
    preview_image: Path | None = None

    def check(self) -> None:
        """Raise OptionError or OutputError for what can be refused before the work."""
        from pleinair.films.loop import check_loop

        if self.length is not None and self.every is not None:
            raise OptionError("give --length or --every, not both")
        if self.original and self.split:
            raise OptionError(f"{self.split}: shows the original, too; leave out --original", option="split")
        if self.preview_image is not None:
            check_loop(self.preview_image)

    @property
    def plain(self) -> bool:
        """Whether the film is all paintings as they are."""
        return all(getattr(self, f.name) == f.default for f in fields(self) if f.name != "preview_image")

    def cut(self) -> Cut:
        """As the library takes it."""
        from pleinair.rolls.cut import Cut

        return Cut(
            choice=Choice(
                days=self.days or (),
                since=self.since,
                until=self.until,
                nth=self.every if isinstance(self.every, int) else None,
                apart=self.every if isinstance(self.every, float) else None,
                blend=self.blend,
            ),
            seconds=self.length,
            fps=self.fps,
            size=self.size,
            original=self.original,
            split=self.split or "",
            timestamp=self.timestamp,
            title=self.title or "",
        )


def make_film(reels: Sequence[Reel], out: Path, wanted: Wanted, tags: dict[str, str], *, force: bool) -> None:
    """Cut the film, and say what it is."""
    from pleinair.films.pipeline import plural
    from pleinair.rolls.cut import cut_film

    before = films_put_aside(out)
    with Bars() as bars:
        made = cut_film(
            reels,
            out,
            wanted.cut(),
            tags=tags,
            report=lambda done, of: bars.show("film", done, of),
            force=force,
        )
    tell_put_aside(before, out)
    if wanted.timestamp and not wanted.original and all(reel.look.timestamp for reel in reels):
        remark("the paintings have their times already; none was written a second time")
    say(
        f"{click.format_filename(out)}: {plural(made.frames, 'frame')}, {length_text(made.frames, made.fps)}, "
        f"{made.size[0]}x{made.size[1]}, {out.stat().st_size / 1e6:.1f} MB, {made.first} to {made.last}"
    )
    make_preview(out, wanted)


def tell_put_aside(before: set[Path], out: Path) -> None:
    """Say where the film is now that had this name before."""
    for film in sorted(films_put_aside(out) - before):
        remark(f"the film that was there is now {film}")


def make_preview(film: Path, wanted: Wanted) -> None:
    """The moving picture of a film, where one is asked for."""
    from pleinair.films.loop import write_loop
    from pleinair.films.pipeline import plural

    if (path := wanted.preview_image) is not None:
        count = write_loop(film, path)
        say(f"{click.format_filename(path)}: {plural(count, 'frame')}, {path.stat().st_size / 1e6:.2f} MB")


@click.command()
@click.argument("roll_folder", metavar="ROLL", type=ROLL)
@click.option("--strip", type=PATH, help="Picture to write: the middle column of each frame, side by side.")
@click.option("--sheet", type=PATH, help="Picture to write: 24 of the frames, with their times.")
@click.option("--brightness", type=PATH, help="Picture to write: the brightness of each frame over time.")
@_day_option
@_since_option
@_until_option
@click.option("--original", is_flag=True, help="Look at the originals, not the paintings.")
@click.option("--style", type=STYLE, help="Style of another painting of the roll, made by `pleinair repaint`.")
@click.option("--bits", type=OneOf(*BITS, FLOAT_BITS), help="Bits of that painting, where there are several.")
def glance(
    roll_folder: Path,
    strip: Path | None,
    sheet: Path | None,
    brightness: Path | None,
    days: tuple[datetime.date, ...] | None,
    since: str | None,
    until: str | None,
    original: bool,
    style: str | None,
    bits: int | None,
) -> None:
    """Show a day of ROLL, or all of it, at a glance.

    Pictures are .png, .jpg or .webp. Of a roll that is being filmed, they show what is finished so far.
    """
    from pleinair.films.pipeline import plural
    from pleinair.images import check_image_output, write_image
    from pleinair.rolls.cut import Reel
    from pleinair.rolls.finish import find_painting
    from pleinair.rolls.glance import glance as look_at
    from pleinair.rolls.settings import check_there

    asked = {"strip": strip, "sheet": sheet, "graph": brightness}
    wanted = {name: path for name, path in asked.items() if path is not None}
    if not wanted:
        raise OptionError("give --strip, --sheet or --brightness with the picture to write")
    for path in wanted.values():
        check_image_output(path)
    check_there(roll_folder)
    look, _ = find_painting(roll_folder, style, bits)
    choice = Choice(days=days or (), since=since, until=until)
    with Bars() as bars:
        seen = look_at(
            Reel(roll_folder, look), choice, original=original, report=lambda done, of: bars.show("frames", done, of)
        )
    for name, path in wanted.items():
        picture = getattr(seen, name)
        write_image(path, picture)
        say(
            f"{click.format_filename(path)}: {picture.shape[1]}x{picture.shape[0]}, "
            f"of {plural(seen.frames, 'frame')}, {seen.first} to {seen.last}"
        )


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    app.add_command(glance)
