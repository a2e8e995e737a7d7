"""What all tests of the page have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from pleinair.serving import easel
from tests.models import write_model
from tests.rolls import identity_network


@pytest.fixture(autouse=True)
def no_styles(tmp_path_factory, monkeypatch) -> None:
    """No style is known and nothing is remembered, so that no test paints what it did not ask for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(easel, "styles", dict)


@pytest.fixture
def plain_styles(no_styles, tmp_path_factory, monkeypatch) -> Path:
    """The styles ``plain`` and ``same``, which change nothing; the folder that they are in."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("plain", "same"):
        write_model(folder / name, identity_network(), margin=0, grain=0)
    monkeypatch.setenv("PLEINAIR_MODELS", str(folder))
    monkeypatch.setattr(easel, "styles", lambda: {name: folder / name for name in ("plain", "same")})
    return folder
