"""Finishing a roll: the tags of its film."""

from __future__ import annotations

import pytest

from tests.rolls import (
    Still,
    film_roll,
    joined,
    new_roll,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_the_tags_say_what_it_is(tmp_path):
    import av

    film_roll(new_roll(tmp_path / "rooftop"), Still())
    joined(tmp_path / "rooftop")
    with av.open(str(tmp_path / "joined.mp4")) as container:
        assert container.metadata["title"] == "plain: rooftop"
        assert "25 frames, one every 0.02 s" in container.metadata["comment"]
