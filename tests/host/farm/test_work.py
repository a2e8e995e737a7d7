"""Pieces of work: their names, and what is taken for an answer."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from pleinair.errors import EngineError, OptionError
from pleinair.farm import work as work_module
from pleinair.farm.cluster import Where
from pleinair.farm.work import METER, PAINT, Brush, Done, Job, Unfit, fault_of, work
from pleinair.models import Model, load_model
from pleinair.network.light import Sums, light_of
from pleinair.painting import meter
from pleinair.painting.tiles import Window, add_margin
from tests.models import write_model
from tests.networks import adaptive_network


@pytest.fixture
def model(tmp_path) -> Model:
    """An adaptive style."""
    write_model(tmp_path / "lit", adaptive_network(2, 2), margin=24, grain=0)
    return load_model(str(tmp_path / "lit"), 8)


def frames(count: int) -> list[np.ndarray]:
    """Noise."""
    return list(np.random.default_rng(0).integers(0, 256, (count, 40, 48, 3), np.uint8))


def test_a_name_tells_every_difference(model):
    job, images = Job(PAINT, model.sha256, 8), frames(2)
    light = light_of(model.network)
    names = {
        job.name(images),
        job.name(images[:1]),
        job.name(images[::-1]),
        job.name([images[0], images[1] ^ (np.arange(48) == 47).astype(np.uint8)[:, None]]),
        job.name([images[0].reshape(48, 40, 3), images[1]]),
        replace(job, kind=METER).name(images),
        replace(job, network="0").name(images),
        replace(job, strokes=2).name(images),
        replace(job, tone=0.5).name(images),
        replace(job, lights=(light,), which=(0, 0)).name(images),
        replace(job, lights=(light, light), which=(0, 1)).name(images),
    }
    assert len(names) == 11
    # What it is computed with changes nothing.
    assert replace(job, threads=3).name([image.copy() for image in images]) == job.name(images)


def test_a_worker_paints_and_meters_as_the_reference_does(model):
    work_module._brushes.clear()
    images = frames(3)
    own = work(Job(PAINT, model.sha256, 8), lambda: model, tuple(images))
    assert isinstance(own, Done) and own.name == Job(PAINT, model.sha256, 8).name(images)
    assert own.opening > 0 and own.processor > 0 and own.opening + own.processor <= time.process_time()
    network, window = model.network, Window(24, 24, 64, 72)
    for image, painting in zip(images, own.paintings, strict=True):
        np.testing.assert_array_equal(
            painting, meter.paint(network, add_margin(image, 24, network.stride, adaptive=True), window)
        )
    metered = work(Job(METER, model.sha256, 8), lambda: 1 / 0, (images[0],))  # its brush is open already
    assert isinstance(metered, Done) and metered.opening == 0
    assert metered.sums == (meter.sums(network, add_margin(images[0], 24, network.stride, adaptive=True), window),)
    light = meter.measure(network, add_margin(images[0], 24, network.stride, adaptive=True), window)
    lit = work(
        Job(PAINT, model.sha256, 8, lights=(light_of(network), light), which=(1, 0)),
        lambda: model,
        (images[0],),
        (images[1],),
    )
    np.testing.assert_array_equal(lit.paintings[0], own.paintings[0])
    assert (lit.paintings[1] != own.paintings[1]).any()
    work_module._brushes.clear()


def test_a_process_keeps_few_brushes(model):
    work_module._brushes.clear()
    for strokes in (1, 2, 1, 1, 2):
        work(Job(PAINT, model.sha256, 8, strokes), lambda: model, tuple(frames(1)))
    assert len(work_module._brushes) == 2
    work(Job(PAINT, model.sha256, 8, threads=2), lambda: model, tuple(frames(1)))
    assert len(work_module._brushes) == 2
    work_module._brushes.clear()


def test_a_worker_without_an_engine_says_so(model, monkeypatch):
    def refuse(*_: object) -> Brush:
        raise EngineError("onnxruntime is not installed")

    work_module._brushes.clear()
    monkeypatch.setattr(work_module, "Brush", refuse)
    answer = work(Job(PAINT, model.sha256, 8), lambda: model, tuple(frames(1)))
    assert answer == Unfit("cannot paint: onnxruntime is not installed")


def test_sums_that_no_frame_can_give_are_no_sums():
    job, images = Job(METER, "", 8), frames(1)
    good = Sums(10, (5, 2550), (5, 650250))

    def fault(*sums: object) -> str:
        return fault_of(Done("n", "", 0.0, sums=(sums,)), job, "n", images, [2])  # type: ignore[arg-type]

    assert fault(good) == ""
    bad = [
        (),
        (good, good),
        ("sums",),
        (replace(good, count=0),),
        (replace(good, count=10.0),),
        (replace(good, count=True),),
        (replace(good, first=(5,)),),
        (replace(good, first=(-1, 5)),),
        (replace(good, first=(5, 2551)),),
        (replace(good, second=(5, 650251)),),
        (replace(good, count=1 << 60),),
    ]
    for sums in bad:
        assert fault(*sums) == "gave no sums of a light", sums


@pytest.mark.parametrize("text", ["ray", "ray:10.0.0.1:6379", "ray:[fd00::1]:6379", "ray:auto"])
def test_where_work_is_done(text):
    assert str(Where.parse(text)) == text


@pytest.mark.parametrize("text", ["", "Ray", "dask", "ray:", "ray:a b", "ray:$(id)", "ray:" + "a" * 300])
def test_places_that_there_are_not(text):
    with pytest.raises(OptionError, match="give ray for this machine, or ray:ADDRESS"):
        Where.parse(text)
