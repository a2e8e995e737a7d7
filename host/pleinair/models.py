"""Model folders: ``models/STYLE/`` with a card and, for each width, the network in its forms.

``card.json`` (``"format": "pleinair-model-card"``) names style and painting, licence, margin, grain, and under
``networks`` for each number of bits the files with their SHA-256, the architecture, how it was trained and the losses
it reached. Files: ``network-8bit.npz`` (what painters read), ``qonnx-8bit.onnx.gz`` (QONNX, what hardware is compiled
from and other tools read), ``cpu-8bit.onnx`` (for ONNX Runtime alone, without pleinair; up to 8 bits). The float
network is there for comparison and has a ``network-32bit.npz`` alone. ``parent.npz`` is the float network with
instance norm that they came from, as training reads it.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.documents import read_bytes, read_record
from pleinair.errors import ModelError
from pleinair.network import floating as float_network
from pleinair.network.floating import FLOAT_BITS, FloatNetwork
from pleinair.network.integer import BITS, MAX_FILE_BYTES, IntegerNetwork, parse
from pleinair.painting.grain import MAX_GRAIN

CARD = "card.json"
CARD_FORMAT = "pleinair-model-card"
#: Role in the folder and file name for a width.
FILES = {"network": "network-{bits}bit.npz", "qonnx": "qonnx-{bits}bit.onnx.gz", "cpu": "cpu-{bits}bit.onnx"}
#: The float network with instance norm that a style came from; see pleinair_training.parent.
PARENT = "parent.npz"
#: Grey levels of grain that new models get: enough for strokes to hold on to, too little to see.
DEFAULT_GRAIN = 2
#: What is painted in where no style is asked for; ``pleinair`` itself, which loads nothing, repeats it.
DEFAULT_STYLE = "starry-night"
_MAX_CARD = 1 << 20
_MAX_MARGIN = 512


@dataclass(frozen=True)
class Style:
    """A style at one width that was found, to be passed on instead of what the user wrote.

    Two folders of the same name differ in ``folder``, which is absolute, and in ``sha256``, that of the network's file
    as the card has it ("" where it has none; such a model does not load).
    """

    name: str
    folder: Path
    bits: int
    sha256: str


@dataclass(frozen=True)
class CardPainting:
    """What a card says of the painting that a style was learned from; "" and None where it does not say."""

    title: str
    licence: str
    file: str
    sha256: str | None


@dataclass(frozen=True)
class CardNetwork:
    """What a card says of the network of one width: the SHA-256 of its files by role, and how it was made."""

    sha256: Mapping[str, str]
    adaptive: bool
    steps: int | None
    minutes: float | None


@dataclass(frozen=True)
class Card:
    """A model folder's card. ``margin`` is in pixels, ``grain`` in levels; ``networks`` has an entry for each width.

    ``architecture`` and ``training`` are the trainer's own affair and stand here as they were written; ``training`` is
    None where the card does not say. ``parent_sha256`` is that of the float parent's file, None where there is none.
    """

    margin: int
    grain: int
    networks: Mapping[int, CardNetwork]
    painting: CardPainting
    licence: str
    architecture: Mapping[str, Any]
    training: Mapping[str, Any] | None
    parent_sha256: str | None

    def network_sha256(self, bits: int) -> str:
        """The SHA-256 of the network's file of a width; "" where the card has none."""
        entry = self.networks.get(bits)
        return "" if entry is None else entry.sha256.get("network", "")


@dataclass(frozen=True)
class Model:
    """A style at one width, ready to paint with. ``margin`` is in pixels, ``grain`` in levels."""

    style: str
    bits: int
    margin: int
    grain: int
    network: IntegerNetwork | FloatNetwork
    folder: Path
    card: Card

    @property
    def adaptive(self) -> bool:
        """Whether the network paints in the light that is measured on frames."""
        return self.network.adaptive

    @property
    def own_light_only(self) -> bool:
        """Whether each frame is painted in its own light and in no other: so an adaptive float network paints."""
        return isinstance(self.network, FloatNetwork) and self.network.adaptive

    @property
    def trained_side(self) -> int | None:
        """Pixels a side of the photos that the network was trained on; None where its card does not say."""
        side = (self.card.training or {}).get("crop")
        return side if isinstance(side, int) and not isinstance(side, bool) and side > 0 else None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the network's file, as the card has it."""
        return self.card.network_sha256(self.bits)


def user_styles() -> Path:
    """Where a user's own styles lie: ``pleinair/styles`` in the platform's folder for data, whether it is there or not.

    On Linux that is in ``$XDG_DATA_HOME``, by default ``~/.local/share``.
    """
    try:
        from platformdirs import user_data_path
    except ImportError:  # a board that has NumPy and OpenCV alone
        given = os.environ.get("XDG_DATA_HOME", "")
        data = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".local" / "share"
        return data / "pleinair" / "styles"
    return Path(user_data_path("pleinair", appauthor=False)) / "styles"


def model_folders() -> list[Path]:
    """Where styles are looked for: $PLEINAIR_MODELS, the checkout's models/, the installed package's, the user's."""
    here = Path(__file__).resolve().parent
    found = [here.parents[1] / "models", here / "models", user_styles()]
    if os.environ.get("PLEINAIR_MODELS"):
        found.insert(0, Path(os.environ["PLEINAIR_MODELS"]))
    return [folder for folder in found if folder.is_dir()]


def styles() -> dict[str, Path]:
    """The folders of all styles, by name; the first of a name counts."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for card in sorted(folder.glob(f"*/{CARD}")):
            found.setdefault(card.parent.name, card.parent)
    return found


def find_style(name: str) -> Path:
    """The folder of a style given by name or as a folder. Raises ModelError that lists what there is."""
    known = styles()
    if name in known:
        return known[name]
    folder = Path(name)
    # os.path says no where pathlib raises: a name too long, or with a NUL.
    if name and os.path.isdir(folder):
        if os.path.isfile(folder / CARD):
            return folder
        raise ModelError(f"{name}: the folder has no {CARD}", option="style")
    there = ", ".join(known) or "none"
    raise ModelError(f"{name!r}: unknown; there are {there} (or give a model's folder)", option="style")


def read_card(folder: Path) -> Card:
    """A model folder's card, checked. Raises ModelError."""
    path = folder / CARD
    record = read_record(path, most=_MAX_CARD, error=ModelError, name=f"card {path}")
    record.check_format(CARD_FORMAT)
    values = record.values
    for key, most in (("margin", _MAX_MARGIN), ("grain", MAX_GRAIN)):
        value = values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise ModelError(f"card {path}: {key} {value!r}, allowed are 0 to {most}")
    networks = values.get("networks")
    if not isinstance(networks, dict) or not networks or not all(isinstance(v, dict) for v in networks.values()):
        raise ModelError(f"card {path}: names no networks")
    allowed = [str(bits) for bits in (*BITS, FLOAT_BITS)]
    if unknown := [bits for bits in networks if bits not in allowed]:
        raise ModelError(f"card {path}: a network of {unknown[0]!r} bits, allowed are {', '.join(allowed)}")
    for part in ("painting", "architecture"):
        if not isinstance(values.get(part, {}), dict):
            raise ModelError(f"card {path}: {part} is not an object")
    training = values.get("training")
    return Card(
        margin=values["margin"],
        grain=values["grain"],
        networks={int(bits): _card_network(entry) for bits, entry in networks.items()},
        painting=_card_painting(values.get("painting", {})),
        licence=str(values.get("licence", "")),
        architecture=values.get("architecture", {}),
        training=training if isinstance(training, dict) else None,
        parent_sha256=_parent_sha256(values),
    )


def _card_painting(values: Mapping[str, Any]) -> CardPainting:
    title, licence, file = (str(values.get(name, "")) for name in ("title", "licence", "file"))
    sha256 = values.get("sha256")
    return CardPainting(title, licence, file, sha256 if isinstance(sha256, str) else None)


def _card_network(values: Mapping[str, Any]) -> CardNetwork:
    """What is of another type than it should be is as if it were not there: the hashes of files show what matters."""

    def number(name: str) -> Any:
        value = values.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    hashes, steps = values.get("sha256"), number("steps")
    return CardNetwork(
        sha256={role: str(value) for role, value in hashes.items()} if isinstance(hashes, dict) else {},
        adaptive=values.get("adaptive") is True,
        steps=None if steps is None else int(steps),
        minutes=number("minutes"),
    )


def _parent_sha256(values: Mapping[str, Any]) -> str | None:
    """The hash of the parent's file; "", which no file has, where the card has a parent without one."""
    if "parent" not in values:
        return None
    parent = values["parent"]
    return str(parent.get("sha256", "")) if isinstance(parent, dict) else ""


def read_stored(folder: Path, card: Card, bits: int, role: str) -> bytes:
    """One file of a model as it lies in the folder; its hash is the card's. Raises ModelError."""
    return _verified(folder / FILES[role].format(bits=bits), card.networks[bits].sha256.get(role))


def read_file(folder: Path, card: Card, bits: int, role: str) -> bytes:
    """What one file of a model holds, unpacked where it is packed; its hash is the card's. Raises ModelError."""
    path = folder / FILES[role].format(bits=bits)
    data = read_stored(folder, card, bits, role)
    return _unpacked(data, path) if path.suffix == ".gz" else data


def read_parent(folder: Path, card: Card) -> bytes:
    """The file of a model's parent, its hash checked against the card's. Raises ModelError, also for none."""
    if card.parent_sha256 is None:
        raise ModelError(f"style {folder.resolve().name}: has no float parent")
    return _verified(folder / PARENT, card.parent_sha256)


def _verified(path: Path, sha256: str | None) -> bytes:
    data = read_bytes(path, most=MAX_FILE_BYTES, error=ModelError, name=f"model {path}")
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(f"model {path}: damaged or exchanged, its SHA-256 is {found[:12]}..., not the card's")
    return data


def _unpacked(data: bytes, path: Path) -> bytes:
    """What a gzip file of one member holds, up to MAX_FILE_BYTES."""
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        whole = unpacker.decompress(data, MAX_FILE_BYTES + 1)
    except zlib.error as error:
        raise ModelError(f"model {path}: damaged or not gzip") from error
    if len(whole) > MAX_FILE_BYTES:
        raise ModelError(f"model {path}: unpacks to more than {MAX_FILE_BYTES >> 20} MiB")
    if not unpacker.eof or unpacker.unused_data:
        raise ModelError(f"model {path}: damaged, its gzip stream does not end with the file")
    return whole


def resolve_style(style: str | Path, bits: int) -> Style:
    """The style given by name or as a folder, at ``bits``; only its card is read.

    Raises ModelError: an unknown style, a width that it does not have, a damaged card.
    """
    folder = Path(os.path.abspath(find_style(str(style))))
    card = read_card(folder)
    if bits not in card.networks:
        has = ", ".join(map(str, sorted(card.networks)))
        raise ModelError(f"{bits}: style {folder.resolve().name} has {has}", option="bits")
    return Style(folder.resolve().name, folder, bits, card.network_sha256(bits))


def absolute(style: str) -> str:
    """A style as given, so that it means the same in any folder: a name stays, a model's folder becomes absolute.

    Raises ModelError for an unknown style.
    """
    return style if style in styles() else str(find_style(style).resolve())


def load_model(style: str | Path | Style, bits: int | None = None) -> Model:
    """A style's network. ``bits`` is needed for a name or a folder; a :class:`Style` has its own.

    Raises ModelError: an unknown style, a width that it does not have, damage, or a :class:`Style` whose network has
    been exchanged since.
    """
    if not isinstance(style, Style):
        if bits is None:
            raise TypeError("load_model() needs bits for a style given by name or folder")
        style = resolve_style(style, bits)
    folder, bits, card = style.folder, style.bits, read_card(style.folder)
    path = folder / FILES["network"].format(bits=bits)
    if bits not in card.networks or card.network_sha256(bits) != style.sha256:
        raise ModelError(f"model {path}: exchanged since the style was chosen")
    data = read_file(folder, card, bits, "network")
    network = float_network.parse(data, str(path)) if bits == FLOAT_BITS else parse(data, str(path))
    if network.bits != bits:
        raise ModelError(f"model {path}: a {network.bits}-bit network, the card says {bits}")
    return Model(style.name, bits, card.margin, card.grain, network, folder, card)
