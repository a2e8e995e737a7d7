"""What is remembered of engines: told back for the same machine, network and threads alone, and never trusted."""

from __future__ import annotations

import json
import os

import pytest

from pleinair.engines import fastest as engine_memory
from pleinair.engines.fastest import FORMAT, MAX_ENTRIES, key, memory_file, remember, remembered
from pleinair.machine import cores
from tests.networks import random_network

NETWORK = random_network(1, width=4, blocks=1, kernel=3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pleinair" / "engines.json"


def test_what_was_remembered_is_told_for_that_network_and_those_threads_alone(cache):
    assert remembered(NETWORK, 1) is None
    remember(NETWORK, 1, "openvino")
    remember(NETWORK, 3, "litert")
    assert memory_file() == cache and os.listdir(cache.parent) == [cache.name]
    assert remembered(NETWORK, 1) == "openvino" and remembered(NETWORK, 3) == "litert"
    assert remembered(NETWORK, 2) is None
    assert remembered(random_network(1, width=8, blocks=1, kernel=3), 1) is None
    assert remembered(random_network(1, width=4, blocks=1, kernel=3, bits=4), 1) is None
    # Other weights, the same work: another style of the same architecture.
    assert remembered(random_network(2, width=4, blocks=1, kernel=3), 1) == "openvino"
    remember(NETWORK, 1, "onnxruntime")
    assert remembered(NETWORK, 1) == "onnxruntime"


def test_no_threads_are_all_cores():
    remember(NETWORK, 0, "openvino")
    assert remembered(NETWORK, cores()) == remembered(NETWORK, 0) == "openvino"


@pytest.mark.parametrize(
    "change",
    (
        lambda m: m.setattr(engine_memory, "processor", lambda: "another processor"),
        lambda m: m.setattr(engine_memory, "board", lambda: "another board"),
        lambda m: m.setattr(engine_memory, "versions", lambda packages: {"onnxruntime": "99.0"}),
    ),
    ids=("processor", "board", "versions"),
)
def test_another_machine_or_other_packages_know_nothing(monkeypatch, change):
    remember(NETWORK, 1, "openvino")
    change(monkeypatch)
    assert remembered(NETWORK, 1) is None


def whole(fastest):
    return json.dumps({"format": FORMAT, "version": 1, "fastest": fastest})


@pytest.mark.parametrize(
    "content",
    (
        "",
        "{",
        "[]",
        "7",
        "\0" * 50,
        "[" * 100_000,
        whole([]),
        whole(None),
        whole({"KEY": 7}),
        whole({"KEY": ""}),
        whole({"KEY": "x" * 1000}),
        json.dumps({"format": "other", "version": 1, "fastest": {"KEY": "openvino"}}),
        json.dumps({"format": FORMAT, "version": 2, "fastest": {"KEY": "openvino"}}),
        whole({"KEY": "openvino"}) + " " * 200_000,
    ),
)
def test_damage_says_nothing_and_is_written_over(cache, content):
    cache.parent.mkdir(parents=True)
    cache.write_text(content.replace("KEY", key(NETWORK, 1)))
    assert remembered(NETWORK, 1) is None
    remember(NETWORK, 1, "litert")
    assert remembered(NETWORK, 1) == "litert"


def test_the_same_content_undamaged_is_read(cache):
    cache.parent.mkdir(parents=True)
    cache.write_text(whole({key(NETWORK, 1): "openvino"}))
    assert remembered(NETWORK, 1) == "openvino"


def test_the_latest_entries_are_kept():
    for threads in range(1, MAX_ENTRIES + 3):
        remember(NETWORK, threads, "openvino")
    assert [remembered(NETWORK, t) is None for t in (1, 2, 3, MAX_ENTRIES + 2)] == [True, True, False, False]
    remember(NETWORK, 3, "litert")  # the oldest, now the latest
    remember(NETWORK, 1, "litert")
    assert remembered(NETWORK, 3) == "litert" and remembered(NETWORK, 4) is None


def test_where_nothing_can_be_written_nothing_is_remembered_and_nothing_raised(tmp_path, monkeypatch, cache):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember(NETWORK, 1, "openvino")
    assert remembered(NETWORK, 1) is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remember(NETWORK, 1, "openvino")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    remember(NETWORK, 1, "litert")
    assert remembered(NETWORK, 1) == "openvino" and os.listdir(cache.parent) == [cache.name]


def test_a_relative_cache_folder_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert memory_file() == tmp_path / ".cache" / "pleinair" / "engines.json"
