"""Lights are timed with a painter that really paints in them."""

from __future__ import annotations

import pytest

from pleinair.measuring import lights as module
from pleinair.measuring.lights import measure_lights
from pleinair.models import load_model
from pleinair.painting.adaptive import AdaptivePainter
from tests.models import write_model
from tests.networks import adaptive_network, random_network


def test_each_figure_is_of_what_it_says(tmp_path, monkeypatch):
    seen = []
    for name in ("paint", "paint_in", "sums"):
        real = getattr(AdaptivePainter, name)

        def spied(self, *args, real=real, name=name):
            seen.append((name, args[1:]))
            return real(self, *args)

        monkeypatch.setattr(AdaptivePainter, name, spied)
    model = load_model(str(write_model(tmp_path / "model", adaptive_network(1))), 8)
    found = measure_lights(model, "onnxruntime", 1, (64, 48), 3)
    assert (found.engine, found.threads, found.frames) == ("onnxruntime", 1, 3)
    assert min(found.known_ms, found.new_ms, found.sums_ms, found.own_ms) > 0 and found.own_ratio > 0
    rounds = 3 + module._WARMUP
    painted_in = [args for name, args in seen if name == "paint_in"]
    assert [name for name, _ in seen].count("paint") == rounds and len(painted_in) == 2 * rounds
    # The known light, and three new ones, of which none is painted in twice in a row.
    assert len(set(painted_in)) == 4
    new = [args for args in painted_in if args != max(painted_in, key=painted_in.count)]
    assert len(new) == rounds and all(one != other for one, other in zip(new, new[1:], strict=False))


def test_a_network_without_lights_is_refused(tmp_path):
    model = load_model(str(write_model(tmp_path / "model", random_network(1))), 8)
    with pytest.raises(ValueError, match="no frame has a light"):
        measure_lights(model, "onnxruntime", 1, (64, 48), 1)
