"""The subcommands of ``pleinair styles``: list them, show one, share them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pleinair.cli.console import print_table, remark, say, say_json, spinner
from pleinair.cli.options import PATH
from pleinair.cli.types import STYLE
from pleinair.errors import OptionError, OutputError, PleinairError
from pleinair.text import one_line


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--contact-sheet", type=PATH, metavar="FILE", help="Write a picture of what each style paints.")
@click.option("--image", type=PATH, help="The photo for --contact-sheet; by default the synthetic day.")
@click.pass_context
def styles(context: click.Context, as_json: bool, contact_sheet: Path | None, image: Path | None) -> None:
    """List the styles that there are; share them.

    They lie in the folder that PLEINAIR_MODELS names, in what pleinair brings, and in your own folder, which
    `pleinair styles add` fills. If two have one name, the first of these counts.
    """
    if context.invoked_subcommand is not None:
        return
    if image is not None and contact_sheet is None:
        raise OptionError(f"{image}: goes with --contact-sheet", option="image")
    if contact_sheet is not None:
        _write_sheet(contact_sheet, image)
        return
    _list(as_json)


def _list(as_json: bool) -> None:
    from pleinair.models import DEFAULT_STYLE, model_folders, read_card
    from pleinair.models import styles as find_styles

    found, damaged, rows = find_styles(), [], []
    for name, folder in found.items():
        try:
            card = read_card(folder)
        except PleinairError as error:
            damaged.append(str(error))
            continue
        rows.append(
            {
                "style": name,
                "painting": card.painting.title,
                "bits": sorted(card.networks),
                "adaptive": any(network.adaptive for network in card.networks.values()),
                "width": card.architecture.get("width"),
                "blocks": card.architecture.get("blocks"),
                "licence": card.licence,
                "folder": str(folder),
            }
        )
    if as_json:
        say_json(rows)
    elif not found:
        say(f"no styles in {', '.join(map(str, model_folders())) or 'any models folder'}")
    elif rows:
        print_table(_table(rows, ("style", "painting", "bits", "adaptive", "licence")))
        if DEFAULT_STYLE in found:
            say(f"{DEFAULT_STYLE} is the default.")
    for line in damaged:
        remark(f"pleinair: {line}")
    if damaged:
        raise click.exceptions.Exit(2)


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    # What names a row is typed: it is not cut.
    table.columns[0].no_wrap = True
    table.columns[0].min_width = max(len(_cell(row[columns[0]])) for row in rows)
    for row in rows:
        # Text, as what a card says is not rich's markup.
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "" if value is None else one_line(str(value))


def _write_sheet(out: Path, image: Path | None) -> None:
    from pleinair.images import check_image_output, read_image, write_image
    from pleinair.sharing.sheet import contact_sheet, sheet_picture

    check_image_output(out)
    picture = sheet_picture() if image is None else read_image(image)
    with spinner("paint") as update:
        sheet, left_out = contact_sheet(picture, lambda name: update(f"paint in {name}"))
    write_image(out, sheet)
    for line in left_out:
        remark(f"left out: {line}")
    say(f"{click.format_filename(out)}: {sheet.shape[1]}x{sheet.shape[0]}")


@styles.command()
@click.argument("style", type=STYLE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(style: str, as_json: bool) -> None:
    """Show what there is to know of STYLE, a name or a folder."""
    from pleinair.models import find_style, read_card

    folder = find_style(style).resolve()
    card = read_card(folder)
    networks = [
        {
            "bits": bits,
            "adaptive": network.adaptive,
            "steps": network.steps,
            "minutes": network.minutes,
            "files": sorted(network.sha256),
            "sha256": card.network_sha256(bits),
        }
        for bits, network in sorted(card.networks.items())
    ]
    facts = {
        "style": folder.name,
        "painting": card.painting.title,
        "painting's licence": card.painting.licence,
        "licence": card.licence,
        "margin": card.margin,
        "grain": card.grain,
        "parent": card.parent_sha256 is not None,
        "folder": str(folder),
    }
    if as_json:
        training = None if card.training is None else dict(card.training)
        say_json({**facts, "architecture": dict(card.architecture), "networks": networks, "training": training})
        return
    shown = {**facts, "parent": "there, `pleinair train --from` can begin with it" if facts["parent"] else "none"}
    for key, value in {**shown, **card.architecture}.items():
        say(one_line(f"{key}: {value}"))
    for row in networks:
        row["sha256"] = f"{str(row['sha256'])[:16]}..."
    print_table(_table(networks, ("bits", "adaptive", "steps", "minutes", "files", "sha256")))


@styles.command()
@click.argument("source", metavar="FILE|FOLDER", type=PATH)
@click.option("--name", metavar="NAME", help="What to call it here; by default what its maker called it.")
@click.option("--key", metavar="FILE|KEY", help="A minisign public key: FILE.minisig must be a signature made with it.")
@click.option("--force", is_flag=True, help="Replace a style of yours that has the name.")
def add(source: Path, name: str | None, key: str | None, force: bool) -> None:
    """Add a style to your own.

    Of a file, every hash is compared, every network is read, and its golden picture is painted on this machine: the
    style is added if the pixels are those that the file holds. A style's folder has no golden picture.
    """
    from pleinair.models import find_style
    from pleinair.sharing.minisign import read_key
    from pleinair.sharing.styles import add_style

    if source.is_dir():
        find_style(str(source.absolute()))  # says what a folder lacks
    with spinner("prove the style") as update:
        added = add_style(source, name=name, key=None if key is None else read_key(key), force=force, say=update)
    proof = f"{added.compared} of {added.compared} paintings equal" if added.compared else "it paints"
    signed = f", signed: {added.signer}" if added.signer else ""
    say(f"{added.name}: added, {proof}{signed}; it lies in {click.format_filename(added.folder)}")


@styles.command()
@click.argument("name", type=STYLE)
@click.option("--out", type=PATH, help="File to write; by default NAME.pleinair.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def export(name: str, out: Path | None, force: bool) -> None:
    """Write style NAME to one file, and a page about it beside.

    The file holds the networks, the card, a picture and what the networks paint of it. The page (FILE.md) is a model
    card for Hugging Face's hub, where it is called README.md.
    """
    from pleinair.images import check_writable, write_bytes
    from pleinair.models import find_style, read_card
    from pleinair.sharing import archive
    from pleinair.sharing.page import style_page
    from pleinair.sharing.styles import export_style

    folder = find_style(name).resolve()
    out = Path(folder.name + archive.SUFFIX) if out is None else out
    if out.suffix != archive.SUFFIX:
        raise OptionError(f"{out}: a style's file ends in {archive.SUFFIX}", option="out")
    page = out.with_name(out.name + ".md")
    for path in (out, page):
        check_writable(path)
        if path.exists() and not force:
            raise OutputError(f"output {path}: is there; name another file, or --force replaces it")
    with spinner("pack the style") as update:
        size = export_style(name, out, update)
    write_bytes(page, style_page(folder.name, read_card(folder), out.name).encode())
    say(f"{click.format_filename(out)}: {size / 1e6:.1f} MB; {click.format_filename(page)}: a page about it")


@styles.command()
@click.argument("name", type=STYLE)
def remove(name: str) -> None:
    """Remove a style that you added."""
    from pleinair.sharing.styles import remove_style

    say(f"{name}: removed from {click.format_filename(remove_style(name).parent)}")


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    app.add_command(styles)
