"""Signatures of minisign (https://jedisct1.github.io/minisign), which shows that a file comes from who has a key.

Its maker signs a style with minisign itself, ``minisign -Sm udnie.pleinair``, which leaves ``udnie.pleinair.minisig``
beside it. A signature is checked here by the package ``cryptography`` (extra ``sign``). Read are signatures of the
file's BLAKE2b hash (``ED``), which minisign makes since 2020, and older ones of the file itself (``Ed``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path

from pleinair.documents import read_bytes
from pleinair.errors import ModelError, OptionError
from pleinair.text import one_line

#: What minisign adds to the name of what it signs.
SUFFIX = ".minisig"
_MAX_BYTES = 1 << 14
_KEY_BYTES = 8
_HASHED, _WHOLE = b"ED", b"Ed"
_TRUSTED = "trusted comment: "


@dataclass(frozen=True)
class PublicKey:
    """A minisign key: ``number`` has 8 bytes and tells keys apart, ``key`` is an Ed25519 public key of 32 bytes."""

    number: bytes
    key: bytes


def _lines(path: Path, name: str) -> list[str]:
    data = read_bytes(path, most=_MAX_BYTES, error=ModelError, name=name)
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ModelError(f"{name}: not text") from error


def _bytes(text: str, size: int) -> bytes:
    """Base64 of ``size`` bytes. Raises ValueError."""
    data = base64.b64decode(text.strip(), validate=True)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes, not {size}")
    return data


def read_key(given: str) -> PublicKey:
    """A public key: the file that ``minisign -G`` writes (minisign.pub), or its second line. Raises OptionError."""
    text = given
    if not given.startswith("RW"):
        try:
            lines = _lines(Path(given), given)
        except ModelError as error:
            raise OptionError(str(error), option="key") from error
        text = next((line for line in lines if line.startswith("RW")), "")
    try:
        data = _bytes(text, len(_WHOLE) + _KEY_BYTES + 32)
        if not data.startswith(_WHOLE):
            raise ValueError("of another kind")
    except (ValueError, binascii.Error) as error:
        raise OptionError(f"{given!r}: neither a file of a minisign public key nor such a key", option="key") from error
    return PublicKey(data[2:10], data[10:])


def check(path: Path, data: bytes, key: PublicKey) -> str:
    """Check the signature beside a file that holds ``data``; the signer's comment, which is signed too, one line.

    Raises ModelError: no signature, of another key, or not of this file; OptionError where ``cryptography`` is missing.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise OptionError("checking a signature needs cryptography: pip install 'pleinair[sign]'") from error
    signed = path.with_name(path.name + SUFFIX)
    lines = _lines(signed, f"signature {signed}")
    try:
        if len(lines) < 4 or not lines[2].startswith(_TRUSTED):
            raise ValueError("lines are missing")
        signature, second = _bytes(lines[1], 2 + _KEY_BYTES + 64), _bytes(lines[3], 64)
        comment = lines[2].removeprefix(_TRUSTED)
    except (ValueError, binascii.Error) as error:
        raise ModelError(f"signature {signed}: damaged, or not minisign's") from error
    kind, number, proof = signature[:2], signature[2:10], signature[10:]
    if kind not in (_HASHED, _WHOLE):
        raise ModelError(f"signature {signed}: of a kind that is not read")
    if number != key.number:
        raise ModelError(f"signature {signed}: made with another key, {number[::-1].hex().upper()}")
    public = Ed25519PublicKey.from_public_bytes(key.key)
    try:
        public.verify(proof, hashlib.blake2b(data).digest() if kind == _HASHED else data)
        public.verify(second, proof + comment.encode())
    except InvalidSignature:
        raise ModelError(f"signature {signed}: not of {path.name} as it is") from None
    return one_line(comment)
