"""Model folders: styles found by name and by folder, resolved once, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pleinair.errors import ModelError
from pleinair.models import CARD, Style, absolute, find_style, load_model, read_card, read_parent, resolve_style, styles
from tests.models import write_model
from tests.networks import random_network

NETWORK = random_network(3, width=4, blocks=1, kernel=3)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to stand in, and a models folder with ``harbour``."""
    write_model(tmp_path / "models" / "harbour", NETWORK)
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def file_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "network-8bit.npz").read_bytes()).hexdigest()


def test_a_style_is_resolved_to_what_it_is(place):
    folder = place / "models" / "harbour"
    assert resolve_style("harbour", 8) == Style("harbour", folder, 8, file_hash(folder))
    assert resolve_style(folder, 8) == resolve_style("../models/harbour", 8) == resolve_style("harbour", 8)


def test_two_folders_of_one_name_are_two_styles(place):
    write_model(place / "here" / "mine" / "harbour", random_network(4, width=4, blocks=1, kernel=3))
    one, other = resolve_style("harbour", 8), resolve_style("mine/harbour", 8)
    assert one.name == other.name == "harbour"
    assert one.folder != other.folder and one.sha256 != other.sha256


def test_a_name_goes_before_a_folder_of_that_name(place):
    write_model(place / "here" / "harbour", random_network(4, width=4, blocks=1, kernel=3))
    assert find_style("harbour") == place / "models" / "harbour"
    assert absolute("harbour") == "harbour"
    assert absolute("./harbour") == str(place / "here" / "harbour")


def test_a_resolved_style_loads_from_anywhere(place, monkeypatch):
    write_model(place / "here" / "mine", NETWORK, margin=16)
    style = resolve_style("mine", 8)
    monkeypatch.chdir("/")
    model = load_model(style)
    assert (model.style, model.bits, model.margin, model.folder) == ("mine", 8, 16, place / "here" / "mine")
    assert model.sha256 == style.sha256 == file_hash(model.folder)


def test_a_network_exchanged_since_is_refused(place):
    style = resolve_style("harbour", 8)
    write_model(place / "models" / "harbour", random_network(4, width=4, blocks=1, kernel=3))
    assert load_model("harbour", 8).sha256 != style.sha256
    with pytest.raises(ModelError, match=r"network-8bit\.npz: exchanged since"):
        load_model(style)


def test_a_link_is_called_as_what_it_leads_to(place):
    (place / "here" / "link").symlink_to(place / "models" / "harbour")
    assert load_model("link", 8).style == resolve_style("link", 8).name == "harbour"


def test_styles_lists_each_name_once(place):
    assert styles()["harbour"] == place / "models" / "harbour"


def test_what_cannot_be_resolved(place):
    (place / "here" / "empty").mkdir()
    for name, says in (
        ("nobody", r"^style 'nobody': unknown; there are .*harbour"),
        ("", r"^style '': unknown"),
        ("a\0b", r"unknown"),
        ("empty", r"^style empty: the folder has no card\.json"),
    ):
        for call in (lambda name: resolve_style(name, 8), find_style, absolute):
            with pytest.raises(ModelError, match=says):
                call(name)
    with pytest.raises(ModelError, match=r"^bits 4: style harbour has 8$"):
        resolve_style("harbour", 4)
    with pytest.raises(TypeError, match="needs bits"):
        load_model("harbour")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "not a version 1 pleinair-model-card"),
        ({"version": 2}, "not a version 1 pleinair-model-card"),
        ({"margin": 513}, "margin 513, allowed are 0 to 512"),
        ({"margin": True}, "margin True"),
        ({"grain": -1}, "grain -1"),
        ({"networks": {}}, "names no networks"),
        ({"networks": {"7": {}}}, "'7' bits, allowed are 4, 8, 16, 32"),
        ({"painting": []}, "painting is not an object"),
    ],
)
def test_cards_are_checked(place, change, says):
    card = place / "models" / "harbour" / CARD
    card.write_text(json.dumps({**json.loads(card.read_text()), **change}))
    with pytest.raises(ModelError, match=f"^card {card}: .*{says}"):
        read_card(card.parent)


def test_a_card_without_a_hash_resolves_and_does_not_load(place):
    card = place / "models" / "harbour" / CARD
    card.write_text(json.dumps({**json.loads(card.read_text()), "networks": {"8": {}}}))
    assert resolve_style("harbour", 8).sha256 == ""
    with pytest.raises(ModelError, match="damaged or exchanged"):
        load_model("harbour", 8)


def test_a_style_without_its_float_parent_says_so(place):
    folder = place / "models" / "harbour"
    with pytest.raises(ModelError, match="^style harbour: has no float parent$"):
        read_parent(folder, read_card(folder))
