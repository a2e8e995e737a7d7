"""Styles exported to one file, and added from one.

A style's file (:mod:`pleinair.sharing.archive`) has these members:

``style.json``          ``{"format": "pleinair-style", "version": 1, "name": NAME}``
``card.json``           the card, with the SHA-256 of each file of a network
``network-8bit.npz``... the networks and their other forms, and ``parent.npz``, as in the style's folder
``golden.png``          a picture, and
``painting-8bit.png``   what each integer network paints of it, pixel by pixel

A style is added to the user's own (:func:`pleinair.models.user_styles`) after every hash was compared, every network
was read, and every integer network has painted ``golden.png`` on this machine with the pixels that its maker's had.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pleinair import durable
from pleinair.backends import open_painter
from pleinair.documents import Record, read_bytes
from pleinair.errors import ModelError, OptionError, OutputError
from pleinair.images import decode_image, encode_image
from pleinair.models import (
    CARD,
    FILES,
    PARENT,
    Card,
    find_style,
    load_model,
    read_card,
    read_parent,
    read_stored,
    styles,
    user_styles,
)
from pleinair.network.floating import FLOAT_BITS
from pleinair.scenery.day import SyntheticDay
from pleinair.sharing import archive, minisign

FORMAT = "pleinair-style"
MANIFEST, GOLDEN, PAINTING = "style.json", "golden.png", "painting-{bits}bit.png"
#: What a style may be called; it becomes a folder.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: The golden picture: the synthetic day at six in the evening.
_WIDTH, _HEIGHT, _SECONDS = 240, 160, 18 * 3600.0
_MAX_CARD = 1 << 20

#: Called with what is being done.
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Added:
    """A style that was added: its name, its folder, how many paintings were compared, who signed it ("" for nobody)."""

    name: str
    folder: Path
    compared: int
    signer: str


def golden_picture() -> np.ndarray:
    """The picture that a style proves itself on when it is exported, uint8 [160, 240, 3] RGB."""
    return SyntheticDay(_WIDTH, _HEIGHT).frame(_SECONDS)


def checked_name(name: str) -> str:
    """A name that a style may have. Raises OptionError."""
    if not NAME.fullmatch(name):
        allowed = "small letters, digits, points, dashes and underscores, a letter or digit first, 64 in all"
        raise OptionError(f"{name!r}: a style's name has {allowed}", option="name")
    return name


def gather(folder: Path) -> dict[str, bytes]:
    """The files of a style's folder that its card names, by name, each with the card's SHA-256. Raises ModelError."""
    card = read_card(folder)
    found = {CARD: read_bytes(folder / CARD, most=_MAX_CARD, error=ModelError, name=f"card {folder / CARD}")}
    for bits, entry in card.networks.items():
        for role in entry.sha256:
            if role not in FILES:
                raise ModelError(f"card {folder / CARD}: names a file of the kind {role!r}")
            found[FILES[role].format(bits=bits)] = read_stored(folder, card, bits, role)
    if card.parent_sha256 is not None:
        found[PARENT] = read_parent(folder, card)
    return found


def _integer_bits(card: Card, name: str) -> list[int]:
    bits = sorted(bits for bits in card.networks if bits != FLOAT_BITS)
    if not bits:
        raise ModelError(f"style {name}: has a float network alone, whose pixels differ between machines")
    return bits


def paint(folder: Path, bits: int, picture: np.ndarray) -> np.ndarray:
    """What a style's network paints of a picture, both uint8 [H, W, 3]. Raises ModelError and EngineError."""
    with closing(open_painter(load_model(folder, bits))) as painter:
        return painter.paint(picture)


def export_style(style: str, out: Path, say: Progress = lambda _: None) -> int:
    """Write a style to one file; how many bytes it has.

    Raises ModelError: unknown, damaged, without an integer network; OutputError.
    """
    folder = find_style(style)
    name = checked_name(folder.resolve().name)
    members = gather(folder)
    picture = golden_picture()
    members[MANIFEST] = (json.dumps({"format": FORMAT, "version": 1, "name": name}) + "\n").encode()
    members[GOLDEN] = encode_image(".png", picture)
    for bits in _integer_bits(read_card(folder), name):
        say(f"paint at {bits} bits")
        members[PAINTING.format(bits=bits)] = encode_image(".png", paint(folder, bits, picture))
    data = archive.pack(members)
    try:
        durable.write_file(out, data, shared=True)
    except OSError as error:
        raise OutputError(f"output {out}: {error.strerror}") from error
    return len(data)


def add_style(
    source: Path,
    *,
    name: str | None = None,
    key: minisign.PublicKey | None = None,
    force: bool = False,
    say: Progress = lambda _: None,
) -> Added:
    """Prove a style, from its file or its folder, and add it to the user's own.

    ``name``: what it shall be called, by default what its maker called it. ``key``: whose signature must lie beside the
    file. ``force``: a style of the user's of that name is replaced.

    Raises ModelError: damaged, hostile, not signed, or it paints other pixels here; OptionError: the name is taken or
    not allowed; OutputError.
    """
    signer = ""
    if os.path.isdir(source):
        if key is not None:
            raise OptionError(f"{source}: a folder is not signed, a file is", option="key")
        members = gather(source)
        own_name = source.resolve().name
    else:
        data = archive.read(source)
        if key is not None:
            signer = minisign.check(source, data, key)
        members = archive.unpack(data, source)
        own_name = _own_name(members, source)
    called = checked_name(own_name if name is None else name)
    check_free(called, force)
    compared = 0
    with _beside(called) as folder:
        for member, content in members.items():
            if member != MANIFEST:
                durable.write_file(folder / member, content)
        compared = _prove(folder, members, source, say)
        target = user_styles() / called
        try:
            if os.path.lexists(target):
                os.replace(target, folder.with_name(folder.name + ".old"))
            os.replace(folder, target)
            durable.sync_folder(target.parent)
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from error
    return Added(called, target, compared, signer)


def remove_style(name: str) -> Path:
    """Remove one of the user's own styles; the folder that it had.

    Raises OptionError for one that is not the user's, or unknown; OutputError.
    """
    folder = user_styles() / checked_name(name)
    if not (folder / CARD).is_file():
        known = styles()
        if name in known:
            raise OptionError(f"{name!r}: not added by `pleinair styles add`, it lies in {known[name]}", option="name")
        raise OptionError(f"{name!r}: unknown", option="name")
    gone = folder.parent.parent / f".{name}.{secrets.token_hex(4)}.old"
    try:
        os.replace(folder, gone)
        durable.sync_folder(folder.parent)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    shutil.rmtree(gone, ignore_errors=True)
    return folder


def _own_name(members: Mapping[str, bytes], source: Path) -> str:
    """The name in a file's manifest; every other member must be one that the card names. Raises ModelError."""
    for needed in (MANIFEST, CARD, GOLDEN):
        if needed not in members:
            raise ModelError(f"style {source}: has no {needed}")
    try:
        values = json.loads(members[MANIFEST])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"style {source}: {MANIFEST} is no JSON") from error
    record = Record(f"style {source}: {MANIFEST}", values, ModelError)
    record.check_format(FORMAT)
    return record.text("name", 64)


def check_free(name: str, force: bool = False) -> None:
    """Raise OptionError where a style may not be added by this name: it is taken; ``force`` replaces the user's own."""
    known = styles().get(name)
    if known is None:
        return
    if known.resolve() != (user_styles() / name).resolve():
        raise OptionError(f"{name!r}: there is a style of that name in {known}; give it another", option="name")
    if not force:
        raise OptionError(f"{name!r}: you have a style of that name; give it another, or --force", option="name")


@contextmanager
def _beside(name: str) -> Iterator[Path]:
    """A folder beside the user's styles, on the same disk; gone at the end unless it was moved to its place."""
    top = user_styles()
    folder = top.parent / f".{name}.{secrets.token_hex(4)}"
    try:
        top.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        yield folder
    except OSError as error:
        raise OutputError(f"{top}: {error.strerror or error}") from error
    finally:
        for left in (folder, folder.with_name(folder.name + ".old")):
            shutil.rmtree(left, ignore_errors=True)


def _prove(folder: Path, members: Mapping[str, bytes], source: Path, say: Progress) -> int:
    """Whether files in a folder are what its card says and paint what they should; how many paintings were compared.

    Raises ModelError.
    """
    card = read_card(folder)
    for bits in card.networks:
        load_model(folder, bits)
    known = {*gather(folder), MANIFEST, GOLDEN, *(PAINTING.format(bits=bits) for bits in card.networks)}
    if foreign := sorted(set(members) - known):
        raise ModelError(f"style {source}: {foreign[0]} does not belong to a style")
    golden = members.get(GOLDEN)
    picture = golden_picture() if golden is None else decode_image(golden, f"{source}: {GOLDEN}")
    if picture.size > 64 * golden_picture().size:
        raise ModelError(f"style {source}: {GOLDEN} has {picture.shape[1]}x{picture.shape[0]} pixels, far too many")
    compared = 0
    for bits in _integer_bits(card, str(source)):
        say(f"paint at {bits} bits")
        painting = paint(folder, bits, picture)
        member = PAINTING.format(bits=bits)
        if golden is None:
            continue
        if member not in members:
            raise ModelError(f"style {source}: has no {member} to compare with")
        differing = _differing(painting, decode_image(members[member], f"{source}: {member}"))
        if differing:
            raise ModelError(
                f"style {source}: at {bits} bits {differing} of {painting.size} values differ from {member}"
            )
        compared += 1
    return compared


def _differing(painting: np.ndarray, expected: np.ndarray) -> int:
    if painting.shape != expected.shape:
        return painting.size
    return int(np.count_nonzero(painting != expected))
