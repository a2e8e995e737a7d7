"""A roll's settings: they come back as they were written, and the journal stands in for a damaged roll.json."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import pytest

from pleinair.errors import RollError
from pleinair.rolls.ledger import Ledger
from pleinair.rolls.settings import Look, Settings, read_settings, write_settings

LOOK = Look("/styles/starry-night-board", 4, fps=30, steady=3, deflicker=8, timestamp=True, network="ab" * 32)
SETTINGS = Settings(
    camera="v4l2:0", size=(64, 48), look=LOOK, every=2.5, crop=(60, 40, 1, 2), ask=(80, 60), spool="png", keep="none"
)


def test_a_looks_names():
    assert LOOK.name == "starry-night-board-4bit"
    assert LOOK.file("latest.jpg") == "paintings/starry-night-board-4bit/latest.jpg"
    assert LOOK.file() == "paintings/starry-night-board-4bit/"


def test_settings_come_back_as_they_were_written(tmp_path):
    write_settings(tmp_path, SETTINGS)
    assert read_settings(tmp_path, Ledger()) == SETTINGS
    written = json.loads((tmp_path / "roll.json").read_text())
    assert (written["format"], written["version"]) == ("pleinair-roll", 1)
    assert written["settings"]["look"]["style"] == "/styles/starry-night-board"


def test_a_fractional_rate_is_kept_exactly(tmp_path):
    settings = dataclasses.replace(SETTINGS, look=dataclasses.replace(LOOK, fps=Fraction(24000, 1001)))
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path, Ledger()) == settings
    assert json.loads((tmp_path / "roll.json").read_text())["settings"]["look"]["fps"] == "24000/1001"
    for bad in ("24000/0", 0.0001, [], "x", None, True, 10**9):
        with pytest.raises(ValueError):
            Look.from_json({**settings.look.to_json(), "fps": bad})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "not a version 1 pleinair-roll"),
        (lambda text: text.replace('"keep": "none"', '"keep": "all"'), "damaged"),
        (lambda text: text.replace('"bits": 4', '"bits": 5'), "damaged"),
        (lambda text: text.replace('"threads"', '"thread"'), "damaged"),
        (lambda text: "[]", "damaged"),
    ],
)
def test_the_journal_stands_in_for_a_damaged_file(tmp_path, damage, told):
    write_settings(tmp_path, SETTINGS)
    path = tmp_path / "roll.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RollError, match=f"{told}, and the journal does not hold"):
        read_settings(tmp_path, Ledger())
    # As the journal gives it: what was JSON.
    ledger = Ledger(settings=json.loads(json.dumps(SETTINGS.to_json())))
    assert read_settings(tmp_path, ledger) == SETTINGS
