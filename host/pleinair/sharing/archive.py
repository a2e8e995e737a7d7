"""The file that holds a style: ``NAME.pleinair``.

It is a ZIP archive whose members are stored as they are, so that any program can open it. Its comment, which is the
end of the file, is ``sha256:`` and the SHA-256 of every byte before those 64 hexadecimal digits: a flipped bit
anywhere is noticed before anything is parsed. That protects from damage, not from malice; a signature does
(:mod:`pleinair.sharing.minisign`). The same members always make the same file.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pleinair.documents import read_bytes
from pleinair.errors import ModelError

SUFFIX = ".pleinair"
#: A shipped style has 0.5 to 5 MB.
MAX_BYTES = 64 << 20
_MAX_MEMBERS = 64
_DIGITS = 64
_COMMENT = b"sha256:"
#: What a member may be called: no folder, no hidden file.
_MEMBER = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def pack(members: Mapping[str, bytes]) -> bytes:
    """A file of these members, by name. Raises ModelError when it would be too large."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            assert _MEMBER.fullmatch(name), name
            member = zipfile.ZipInfo(name)  # of 1980, as ZIP begins: the hour is not part of a style
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, members[name])
        archive.comment = _COMMENT + bytes(_DIGITS)
    data = file.getvalue()[:-_DIGITS]
    if len(data) + _DIGITS > MAX_BYTES:
        raise ModelError(f"the style has {len(data) / 1e6:.0f} MB; a file holds up to {MAX_BYTES >> 20} MiB")
    return data + hashlib.sha256(data).hexdigest().encode()


def read(path: Path) -> bytes:
    """What a style's file holds, not looked into yet. Raises ModelError: missing, or too large."""
    return read_bytes(path, most=MAX_BYTES, error=ModelError, name=f"style {path}")


def unpack(data: bytes, path: Path) -> dict[str, bytes]:
    """The members of a style's file, by name; ``path`` is for errors. Raises ModelError: damaged, or no such file."""
    if not data.startswith(b"PK") or data[-_DIGITS - len(_COMMENT) : -_DIGITS] != _COMMENT:
        raise ModelError(f"style {path}: damaged, or not a file that `pleinair styles export` wrote")
    if hashlib.sha256(data[:-_DIGITS]).hexdigest().encode() != data[-_DIGITS:]:
        raise ModelError(f"style {path}: damaged, its SHA-256 is not the one at its end; get the file again")
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = archive.infolist()
            if len(found) > _MAX_MEMBERS:
                raise ModelError(f"style {path}: {len(found)} files in it, up to {_MAX_MEMBERS} are read")
            for member in found:
                name = member.filename
                if not _MEMBER.fullmatch(name) or name in members:
                    raise ModelError(f"style {path}: a file in it is called {name[:60]!r}, or two are")
                # Stored, so a member is never larger than the file: nothing can unpack to gigabytes.
                if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.file_size > len(data):
                    raise ModelError(f"style {path}: {name} is packed in a way that is not read")
                members[name] = archive.read(member)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ModelError(f"style {path}: damaged, it is no ZIP archive ({error})") from error
    return members
