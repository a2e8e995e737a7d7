"""Model folders for the tests of whatever loads one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pleinair.models import CARD, CARD_FORMAT, FILES
from pleinair.network import floating as float_network
from pleinair.network.floating import FloatNetwork
from pleinair.network.integer import IntegerNetwork, dump


def card_of(folder: Path) -> dict:
    """A model folder's card as it stands there, to be looked at or changed."""
    card: dict = json.loads((folder / CARD).read_text())
    return card


def write_models(folder: Path, *networks: IntegerNetwork | FloatNetwork, margin: int = 24) -> Path:
    """Make ``folder`` a model folder that holds several networks; the folder."""
    entries: dict = {}
    for network in networks:
        entries |= card_of(write_model(folder, network, margin))["networks"]
    (folder / CARD).write_text(json.dumps({**card_of(folder), "networks": entries}))
    return folder


def write_model(folder: Path, network: IntegerNetwork | FloatNetwork, margin: int = 24, grain: int = 2) -> Path:
    """Make ``folder`` a model folder that holds ``network`` alone; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data = dump(network) if isinstance(network, IntegerNetwork) else float_network.dump(network)
    (folder / FILES["network"].format(bits=network.bits)).write_bytes(data)
    card = {
        "format": CARD_FORMAT,
        "version": 1,
        "style": folder.name,
        "painting": {"title": "Random integers", "licence": "public domain"},
        "licence": "CC0-1.0",
        "margin": margin,
        "grain": grain,
        "architecture": {"width": 4, "blocks": 1, "kernel": 3},
        "networks": {str(network.bits): {"sha256": {"network": hashlib.sha256(data).hexdigest()}}},
    }
    (folder / CARD).write_text(json.dumps(card))
    return folder
