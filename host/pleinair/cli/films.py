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
from pleinair.cli.types import DAYS, DURATION, FPS, SIZE, STEP, OneOf, Whole
from pleinair.errors import OptionError
from pleinair.films.card import CARD_SECONDS, HALF, SPLITS
from pleinair.films.choice import MAX_BLEND, Choice
from pleinair.films.rate import Rate, length_text
from pleinair.films.recorder import films_put_aside

if TYPE_CHECKING:
    from pleinair.rolls.cut import Cut, Reel

_options = (
    click.option("--length", type=DURATION, help="Length of the film, such as 60s: frames are chosen evenly in time."),
    click.option("--fps", type=FPS, show_default="as painted", help="Frames per second of the film."),
    click.option("--every", type=STEP, help="Show every N-th frame, or one for every TIME, such as 10m."),
    click.option("--day", "days", type=DAYS, help="Show this day, such as 2026-11-25, or several with commas."),
    click.option(
        "--from", "since", metavar="HH:MM|DATE", help="Show each day from this time on, or all from a date on."
    ),
    click.option("--until", metavar="HH:MM|DATE", help="Show each day until this time, or until a date."),
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
