"""The map of an accelerator's light: what is written is read, and damaged ones are refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from pleinair.documents import Record
from pleinair.errors import OptionError
from pleinair.fpga.deployment import DeploymentError, read_light
from pleinair.fpga.light_map import LightMap, Station, lay_out, read_light_map
from pleinair.fpga.light_port import check_network, stations_of, table_of
from pleinair.network.light import LayerLight, identity
from tests.networks import adaptive_network, random_network


@pytest.fixture
def light_map():
    network = adaptive_network(1, 4, 1)
    return lay_out(identity(network), stations_of(network, 64, 96, {"up1": 2}))


def read(values):
    return read_light_map(Record("settings.json: light", values, DeploymentError), 64, 96)


@pytest.mark.parametrize("metering", (True, False))
def test_what_is_written_is_read(light_map, metering):
    made = lay_out(light_map.network, light_map.stations, metering=metering)
    again = read(json.loads(json.dumps(made.to_json())))
    assert again == made and again.meters == metering
    assert all(("sums" in entry) == metering for entry in made.to_json()["stations"])


def test_the_hash_is_that_of_the_canonical_json(light_map):
    values = light_map.to_json()
    found = values.pop("hash")
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    assert found == hashlib.sha256(text.encode()).hexdigest()[:8] == f"{light_map.hash:08x}"
    assert list(values["stations"][0]) == [
        *("name", "channels", "height", "width", "lanes", "table", "sums", "registers")
    ]


def test_stations_are_the_adaptive_convolutions_in_order(light_map):
    facts = [(s.name, s.channels, s.height, s.width, s.lanes) for s in light_map.stations]
    assert facts == [
        ("enter", 16, 16, 24, 1),
        ("block1.conv1", 16, 16, 24, 1),
        ("block1.conv2", 16, 16, 24, 1),
        ("up1", 4, 32, 48, 2),
    ]
    assert stations_of(random_network(1, 4, 1), 64, 96) == []


@pytest.mark.parametrize("channels", (1, 3, 64, 129, 1024))
def test_blocks_do_not_overlap_and_lie_at_multiples_of_their_size(channels):
    made = lay_out("x", [Station(f"s{k}", channels + k * (channels < 1024), 1, 1, 1) for k in range(5)])
    taken = set(range(made.id, made.id + 16))
    for station in made.stations:
        for offset, size in station.blocks():
            words = set(range(offset, offset + size))
            assert not words & taken and offset % (1 << (size - 1).bit_length()) == 0
            taken |= words
    assert max(taken) < made.bytes


def broken(light_map, change):
    values = json.loads(json.dumps(light_map.to_json()))
    change(values)
    return values


@pytest.mark.parametrize(
    "change, said",
    (
        (lambda m: m.update(version=2), "version 2; allowed is 1"),
        (lambda m: m.update(hash="00000000"), "hash '00000000'; allowed is the map's own"),
        (lambda m: m.update(network=5), "network 5; allowed is text"),
        (lambda m: m.pop("network"), "network None"),
        (lambda m: m.update(stations=[]), "allowed is at least one, each of another name"),
        (lambda m: m["stations"].append(m["stations"][0]), "at least one, each of another name"),
        (lambda m: m["stations"][1].update(channels=0), "stations 2: channels 0; allowed is a number from 1 to 1024"),
        (lambda m: m["stations"][1].update(height=65), "stations 2: height 65; allowed is a number from 1 to 64"),
        (lambda m: m["stations"][0].update(table=m["stations"][1]["table"]), "registers that do not overlap"),
        (lambda m: m["stations"][0].update(registers=m["stations"][0]["registers"] + 4), "at multiples of 16"),
        (lambda m: m["stations"][3].update(sums=(1 << m["address_bits"]) - 32), "registers that do not overlap"),
        (lambda m: m.update(id=m["stations"][0]["table"]), "registers that do not overlap"),
        (lambda m: m.update(id=1 << 20), "id 1048576"),
    ),
)
def test_damaged_maps_are_refused(light_map, change, said):
    with pytest.raises(DeploymentError) as failure:
        read(broken(light_map, change))
    assert said in str(failure.value) and "\n" not in str(failure.value)


def test_settings_without_a_light_have_none(tmp_path, light_map):
    file = tmp_path / "settings.json"
    file.write_text("{}")
    assert read_light(file, 64, 96) is None
    file.write_text(json.dumps({"light": light_map.to_json()}))
    assert read_light(file, 64, 96) == light_map
    file.write_text(json.dumps({"light": []}))
    with pytest.raises(DeploymentError, match="light: not an object"):
        read_light(file, 64, 96)


def test_another_networks_map_is_refused(light_map):
    check_network(light_map, adaptive_network(1, 4, 1), 64, 96, "deploy")
    with pytest.raises(OptionError, match="deploy: its registers hold the light of another network"):
        check_network(light_map, adaptive_network(2, 4, 1), 64, 96, "deploy")
    with pytest.raises(OptionError, match="station enter of its map is not the network's enter"):
        check_network(light_map, adaptive_network(1, 4, 1), 96, 96, "deploy")


def test_a_table_is_the_numbers_of_each_channel():
    bias = np.array([-1, 5, -(1 << 46), (1 << 40) + 3])
    table = table_of(LayerLight("x", bias, np.array([1, 31, 2, 3]), np.array([0, 24, 40, 7])))
    assert table.dtype == np.uint32
    for row, number, gain, shift in zip(table.tolist(), bias.tolist(), (1, 31, 2, 3), (0, 24, 40, 7), strict=True):
        assert row == [number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF, gain | shift << 8, 0]


def test_a_map_is_plain_values(light_map):
    assert isinstance(light_map, LightMap) and json.loads(json.dumps(light_map.to_json())) == light_map.to_json()
