"""``pleinair evaluate`` in miniature: a run and the model exported from it, measured, reported, refused."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pleinair_training.evaluation
from pleinair.cli.main import main
from pleinair.errors import ModelError, OptionError, TrainingError
from pleinair.images import decode_image, read_image
from pleinair.models import CARD, load_model
from pleinair.network import reference
from pleinair.network.light import in_light
from pleinair.painting.grain import Grain
from pleinair.painting.meter import measure
from pleinair.painting.tiles import Window, add_margin
from pleinair_training.architecture import Architecture
from pleinair_training.evaluation import (
    PHOTOS,
    Evaluation,
    Score,
    evaluate,
    find_painting,
    find_photos,
    find_subjects,
    macs_per_pixel,
    read_footage,
)
from pleinair_training.export import export_run
from pleinair_training.loss_network import STYLE_LAYERS, LossNetwork
from pleinair_training.measures import kept_light, similarity
from pleinair_training.photos import held_out
from pleinair_training.report import curves_picture, write_report
from pleinair_training.trainer import Run, Settings
from tests.films import write_video
from tests.house import SHARED
from tests.models import card_of, write_model
from tests.networks import random_network
from tests.training.conftest import VGG16_FILE

HOSTILE = '<script src="//evil">x</script> | $\\frac$ \ud800 \x1b[31m `a`'


@dataclass(frozen=True)
class Made:
    """A trained run, the model exported from it (its card's title hostile), and what evaluating both gave."""

    run: Path
    model: Path
    paintings: Path
    content: Path
    loss_network: str
    evaluation: Evaluation

    @property
    def scores(self) -> dict[tuple[str, str], Score]:
        return {(s.subject, s.network): s for s in self.evaluation.scores}


@pytest.fixture(scope="module")
def made(workshop, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "paintings" / "deep").mkdir(parents=True)
    shutil.copy(workshop / "painting.png", folder / "paintings" / "deep" / "renamed.png")
    settings = Settings(
        str(workshop / "painting.png"),
        str(workshop / "photos"),
        f"vgg16:{workshop / 'vgg.npz'}",
        width=4,
        blocks=1,
        crop=64,
        batch=1,
        style_size=96,
        hold_out=2,
        parent_steps=2,
        plain_steps=2,
        quantised_steps=2,
    )
    run = Run(folder / "run", settings)
    run.train_parent()
    run.train_plain()
    for bits in (16, 8, 4):
        run.train_quantised(bits)
    export_run(
        folder / "run",
        folder / "model",
        painting="",
        painting_licence="public domain",
        licence="CC0-1.0",
        margin=None,
        grain=2,
        with_float=True,
    )
    card = card_of(folder / "model")
    card["painting"]["title"] = HOSTILE
    (folder / "model" / CARD).write_text(json.dumps(card))
    given = [str(folder / name) for name in ("run", "model", "run")]
    arguments = (folder / "paintings", workshop / "photos", settings.loss_network)
    named = dict(zip(("paintings", "content", "loss_network"), arguments, strict=True))
    evaluation = evaluate(given, **named, photos=1)
    return Made(folder / "run", folder / "model", *arguments, evaluation)


# -- figures


def vgg_losses(weights: Path, picture: np.ndarray, photo: np.ndarray, painting: np.ndarray) -> tuple[float, float]:
    """Content and style as Johnson et al. define them, written out anew: (3.2), per layer the mean over C x C."""
    arrays = np.load(weights)

    def features(image: np.ndarray) -> dict[str, torch.Tensor]:
        x = torch.from_numpy(image.astype(np.float32) - np.float32([123.68, 116.779, 103.939]))
        x, found = x.permute(2, 0, 1)[None], {}
        for block, count in ((1, 2), (2, 2), (3, 3), (4, 3)):
            for c in range(1, count + 1):
                kernel, bias = (torch.from_numpy(arrays[f"conv{block}_{c}.{k}"]).float() for k in ("weight", "bias"))
                x = found[f"{block}_{c}"] = F.conv2d(x, kernel, bias, padding=1).clamp_min(0)
            x = F.max_pool2d(x, 2)
        return found

    def gram(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ihw,jhw->ij", x[0], x[0]) / x.numel()

    mine, other, style = features(picture), features(photo), features(painting)
    content = (mine["3_3"] - other["3_3"]).square().mean()
    layers = ("1_2", "2_2", "3_3", "4_3")
    return float(content), float(sum((gram(mine[n]) - gram(style[n])).square().mean() for n in layers))


def test_losses_are_the_published_ones(made, workshop):
    """Of the photo itself and of a painting, against the definitions; the miniature painting is never enlarged."""
    (name, photo), *_ = made.evaluation.originals
    painting = read_image(workshop / "painting.png")
    for network in (PHOTOS, "8bit"):
        picture = photo if network == PHOTOS else made.evaluation.pictures["run"].grid[network][0]
        content, style = vgg_losses(workshop / "vgg.npz", picture, photo, painting)
        score = made.scores["run", network]
        assert score.content == pytest.approx(content, rel=1e-4) and score.style == pytest.approx(style, rel=1e-4)
    assert made.scores["run", PHOTOS].content == 0 and score.content > 0
    assert name in {Path(n).stem for n in made.evaluation.subjects[0].held_out}


@pytest.mark.parametrize("stage", ["16bit", "8bit", "4bit"])
def test_a_stage_and_the_model_exported_from_it_score_the_same(made, stage):
    """Brevitas with torch's reflection against ONNX Runtime with OpenCV's, another margin: the same pixels."""
    run, model = made.scores["run", stage], made.scores["model", stage]
    for name in ("content", "style", "border", "bits", "macs_per_pixel", "width", "blocks", "steps", "photos"):
        assert getattr(run, name) == getattr(model, name), name
    assert run.content > 0 and run.bytes is None
    assert model.bytes == len((made.model / f"network-{stage}.npz").read_bytes())
    assert (
        macs_per_pixel(Architecture(4, 1))
        == card_of(made.model)["networks"][stage.removesuffix("bit")]["macs_per_pixel"]
    )


def test_ratios_and_likeness_refer_to_the_float_network(made):
    scores = {stage: score for (name, stage), score in made.scores.items() if name == "run"}
    assert list(scores) == [PHOTOS, "parent", "plain", "16bit", "8bit", "4bit"]
    assert len(made.evaluation.scores) == len(made.scores)  # the run, given twice, is evaluated once
    plain = scores["plain"]
    assert plain.ratio == 1 and plain.ssim is None and plain.distance is None
    for stage in ("parent", "16bit", "8bit", "4bit"):
        assert scores[stage].ratio == pytest.approx(scores[stage].total / plain.total)
    # 8 bits are closer to float than 4, by both measures.
    assert 1 > scores["8bit"].ssim > scores["4bit"].ssim
    assert 0 < scores["8bit"].distance < scores["4bit"].distance
    assert scores[PHOTOS].ratio is None and scores[PHOTOS].photos == 1
    # A model's float network is the run's, but for rounding to whole levels.
    model = made.scores["model", "32bit"]
    assert model.ratio == 1 and model.total == pytest.approx(plain.total, rel=1e-3)
    assert made.scores["model", "8bit"].ratio == pytest.approx(scores["8bit"].ratio, rel=1e-3)


def test_every_network_says_what_light_it_keeps(made):
    """Against the measure of the pictures themselves; one photo each, the first of the grid."""
    photo = made.evaluation.originals[0][1]
    for (subject, network), score in made.scores.items():
        if network != PHOTOS:
            light = kept_light(made.evaluation.pictures[subject].grid[network][0], photo)
            for name, value in asdict(light).items():
                assert getattr(score, name) == pytest.approx(value), (subject, network, name)
    assert made.scores["run", PHOTOS].l_correlation_16 == pytest.approx(1) == made.scores["run", PHOTOS].l_spread_4
    run = made.evaluation.pictures["run"].grid
    parent = made.scores["run", "4bit"].parent_ssim
    assert parent == pytest.approx(similarity(run["4bit"][0], run["parent"][0]))
    assert made.scores["run", "parent"].parent_ssim is None
    # A model's parent has its weights in half precision, and no row of its own where it is not what was rounded.
    assert made.scores["model", "4bit"].parent_ssim == pytest.approx(parent, abs=0.02)
    assert ("model", "parent") not in made.scores


@pytest.fixture(scope="module")
def adaptive(workshop, made, tmp_path_factory) -> Evaluation:
    """A run of the second generation, its parent hardly trained, and the model that it was rounded to."""
    folder = tmp_path_factory.mktemp("adaptive")
    settings = Settings(
        str(workshop / "painting.png"),
        str(workshop / "photos"),
        made.loss_network,
        width=4,
        blocks=1,
        kernel=3,
        entry=4,
        exit=2,
        crop=96,
        batch=1,
        style_size=96,
        hold_out=2,
        parent_steps=2,
    )
    Run(folder / "run", settings).train_parent()
    export_run(
        folder / "run",
        folder / "model",
        painting="",
        painting_licence="public domain",
        licence="CC0-1.0",
        margin=None,
        grain=2,
        bits=(16, 8, 4),
    )
    given = [str(folder / "run"), str(folder / "model")]
    return evaluate(given, paintings=made.paintings, content=made.content, loss_network=made.loss_network, photos=1)


def test_adaptive_networks_are_held_against_their_parent(adaptive):
    scores = {(s.subject, s.network): s for s in adaptive.scores}
    assert [n for s, n in scores if s == "model"] == [PHOTOS, "parent", "16bit", "8bit", "4bit"]
    assert [n for s, n in scores if s == "run"] == [PHOTOS, "parent"]
    assert scores["run", "parent"].ratio == 1 and scores["run", "parent"].ssim is None
    assert scores["model", "parent"].total == pytest.approx(scores["run", "parent"].total, rel=2e-2)
    for bits in (16, 8, 4):
        score = scores["model", f"{bits}bit"]
        assert score.ssim == score.parent_ssim and score.ssim > {16: 0.9, 8: 0.9, 4: 0.3}[bits]
    assert scores["model", "8bit"].macs_per_pixel == macs_per_pixel(Architecture(4, 1, 3, 4, 2))
    assert macs_per_pixel(Architecture(16, 3, 3, 4, 2)) == 18_288


def test_adaptive_networks_paint_in_each_photo_s_own_light(adaptive):
    """The reference's metering and the reference's painting, to the pixel."""
    pictures = adaptive.pictures["model"].grid
    folder = next(s.folder for s in adaptive.subjects if s.name == "model")
    for bits in (8, 16):
        model = load_model(str(folder), bits)
        m, network = model.margin, model.network
        for i, (_, photo) in enumerate(adaptive.originals[:1]):
            pixels = add_margin(Grain(model.grain)(photo), m, network.stride, adaptive=True)
            light = measure(network, pixels, Window(m, m, m + photo.shape[0], m + photo.shape[1]))
            wanted = reference.run(in_light(network, light), pixels)[m : m + photo.shape[0], m : m + photo.shape[1]]
            np.testing.assert_array_equal(pictures[f"{bits}bit"][i], wanted)


def test_pictures_are_by_the_preferred_network(made):
    for name in ("run", "model"):
        pictures = made.evaluation.pictures[name]
        assert pictures.preferred == "8bit" and len(pictures.sheet) == len(made.evaluation.originals) == 5
        np.testing.assert_array_equal(pictures.sheet[0], pictures.grid["8bit"][0])
    assert [label for label, _ in made.evaluation.originals[1:]] == [
        "synthetic 05:30",
        "synthetic 12:00",
        "synthetic 18:30",
        "synthetic 01:00",
    ]


@pytest.fixture
def still_camera(tmp_path, monkeypatch) -> Path:
    """Four frames of a texture under noise, a box passing through it; no more than three are to be read."""
    monkeypatch.setattr(pleinair_training.evaluation, "SEQUENCE_FRAMES", 3)
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(60, 190, (12, 16, 3), dtype=np.uint8), (512, 384), interpolation=cv2.INTER_CUBIC)
    frames = [np.clip(scene + rng.integers(-4, 5, scene.shape), 0, 255).astype(np.uint8) for _ in range(4)]
    for i, frame in enumerate(frames):
        frame[100:200, 100 + 40 * i : 150 + 40 * i] = 255
    # A codec without loss, as a lossy one would quieten the noise.
    return write_video(tmp_path / "still.mkv", frames, codec="ffv1", pix_fmt="bgr0")


def test_footage_knows_what_stands_still(still_camera):
    footage = read_footage(still_camera)
    assert len(footage.frames) == len(footage.steadied) == 3
    assert not footage.static[150, 110:210].any() and footage.static[300].all()
    rest = np.abs(np.diff(np.stack(footage.frames).astype(int), axis=0))[:, footage.static]
    # Two independent throws of -4 .. 4: the mean |difference| is 80/27.
    assert rest.mean() == pytest.approx(80 / 27, rel=0.02)


def test_flicker_is_measured_alone_and_in_the_film(made, still_camera):
    """A network that only turns colours round flickers exactly like its input, less when steadied."""
    judge = pleinair_training.evaluation._Judge("vgg16", None, read_footage(still_camera), lambda: None)  # type: ignore[arg-type]
    own, turned = judge._flickers(None), judge._flickers(lambda image: (255 - image).astype(np.float32))
    assert own["flicker_ratio"] == 1 and own["flicker"] == pytest.approx(80 / 27, rel=0.02)
    assert turned["flicker"] == pytest.approx(own["flicker"]) and turned["flicker_ratio"] == pytest.approx(1)
    assert own["moving_ratio"] in (1, None) and turned["moving_ratio"] == own["moving_ratio"]
    assert turned["film_ratio"] < own["film_ratio"] < 0.5  # steadied before and after, and before alone


# -- what there is to evaluate


def test_paintings_are_known_by_their_hash(made, tmp_path):
    run, model = find_subjects([str(made.run), str(made.model)])
    assert find_painting(run, None) == run.style  # where the run found it
    assert find_painting(model, made.paintings).name == "renamed.png"
    moved = replace(run, style=tmp_path / "painting.png")
    assert find_painting(moved, made.paintings).name == "renamed.png"
    (tmp_path / "painting.png").write_bytes(b"another picture under that name")
    assert find_painting(moved, made.paintings).name == "renamed.png"
    with pytest.raises(TrainingError, match=r"none is run's, painting\.png of SHA-256"):
        find_painting(moved, tmp_path)
    with pytest.raises(OptionError, match="^paintings needed"):
        find_painting(model, None)
    with pytest.raises(OptionError, match="no such folder"):
        find_painting(model, tmp_path / "missing")


def test_only_held_out_photos_are_taken(made):
    (run,) = find_subjects([str(made.run)])
    names = json.loads((made.run / "run.json").read_text())["held_out"]
    assert sorted(p.name for p in find_photos(run, made.content, None)) == sorted(names) and len(names) == 2
    assert len(find_photos(run, made.content, 1)) == 1
    with pytest.raises(TrainingError, match="none of the 2 photos"):
        find_photos(run, made.paintings, None)


def test_subjects_of_one_name_are_told_apart(made, tmp_path):
    shutil.copytree(made.run, tmp_path / "run")
    assert [s.name for s in find_subjects([str(made.run), str(tmp_path / "run")])] == [
        str(made.run.resolve()),
        str((tmp_path / "run").resolve()),
    ]


def test_none_means_all_styles(made, monkeypatch):
    monkeypatch.setattr("pleinair.models.model_folders", lambda: [made.model.parent])
    assert [s.name for s in find_subjects([])] == ["model"]


def test_a_model_that_does_not_say_how_it_was_trained_is_refused(tmp_path):
    folder = write_model(tmp_path / "bare", random_network(0, 2, 0, kernel=3))
    with pytest.raises(ModelError, match="does not say how it was trained"):
        find_subjects([str(folder)])
    card = card_of(folder)
    card["painting"]["sha256"], card["training"] = "0" * 64, {"held_out": []}
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(TrainingError, match="no held-out photos"):
        find_subjects([str(folder)])


# -- the report


class _Page(html.parser.HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def report(made, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    write_report(made.evaluation, out)
    return out


def test_scores_csv_holds_every_figure(made, report):
    rows = list(csv.DictReader(io.StringIO((report / "scores.csv").read_text())))
    assert len(rows) == len(made.evaluation.scores) == 11
    for row, score in zip(rows, made.evaluation.scores, strict=True):
        assert (row["subject"], row["network"]) == (score.subject, score.network)
        assert float(row["total"]) == score.total and float(row["border"]) == score.border
        assert row["ssim"] == ("" if score.ssim is None else str(score.ssim))


def test_the_page_is_whole_and_says_nothing_unescaped(made, report):
    page = (report / "report.html").read_text(encoding="utf-8")
    parsed = _Page(page)
    assert "script" not in parsed.tags and '<script src="//evil">x</script> | $' in parsed.text
    assert "\x1b" not in page and "url(" not in page
    images = [address.partition(",")[0] for address in parsed.addresses]
    # Photos and networks of two grids; sheet; curves.
    pictures = sum(3 * (1 + len(p.grid)) for p in made.evaluation.pictures.values())
    assert images.count("data:image/jpeg;base64") == pictures + 1 and images.count("data:image/png;base64") == 1
    assert len(images) == pictures + 2
    for score in made.evaluation.scores:
        assert f"{score.total:,.0f}" in parsed.text


def test_markdown_cells_stay_in_their_columns(made, tmp_path):
    bare = dict(subject="a | b <i> \\", ratio=None, ssim=None, distance=None)
    scores = [replace(s, **bare) for s in made.evaluation.scores if s.subject == "model"]
    pictures = {"a | b <i> \\": made.evaluation.pictures["model"]}
    subject = replace(made.evaluation.subjects[1], name="a | b <i> \\")
    write_report(replace(made.evaluation, scores=scores, subjects=[subject], pictures=pictures), tmp_path / "new")
    lines = (tmp_path / "new" / "table.md").read_text().splitlines()
    counts = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}
    assert len(counts) == 1 and len(lines) == 2 + len(scores) and "<i>" not in "".join(lines)
    # As of a model without a float network, and no video: columns in which nothing is known are left out.
    assert "SSIM" not in lines[0] and "flicker" not in lines[0] and "content" in lines[0]
    assert not (tmp_path / "new" / "curves.png").exists()


def test_pictures_of_the_report(made, report):
    grid, sheet, curves = (read_image(report / f"{name}.png") for name in ("grid", "sheet", "curves"))
    # The photo's cell holds the photo, to the pixel, beside the labels; below it is its painting.
    small = cv2.resize(made.evaluation.originals[0][1], (240, 160), interpolation=cv2.INTER_AREA)
    for picture in (grid, sheet):
        assert np.abs(cv2.matchTemplate(picture, small, cv2.TM_SQDIFF_NORMED)).min() < 1e-6
    painted = cv2.resize(made.evaluation.pictures["model"].sheet[-1], (240, 160), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(sheet[-166:-6, -246:-6], painted)
    assert (grid[:36, :].min(axis=(1, 2)) < 128).any()  # headings
    assert curves.shape[1] == 1300 and (curves < 200).any()


def test_a_run_cut_off_while_logging_still_has_curves(made, tmp_path):
    shutil.copytree(made.run, tmp_path / "run")
    with (tmp_path / "run" / "losses.csv").open("a") as log:
        log.write("8bit,2,1234")
    (subject,) = find_subjects([str(tmp_path / "run")])
    assert decode_image(curves_picture([subject]) or b"", "curves").any()
    (tmp_path / "run" / "losses.csv").unlink()
    assert curves_picture([subject]) is None


# -- the command


def command(made: Made, out: Path, *subjects: Path | str, **changes: str) -> list[str]:
    options = {
        "--paintings": str(made.paintings),
        "--content": str(made.content),
        "--photos": "1",
        "--loss-network": made.loss_network,
        "--out": str(out),
    }
    return ["evaluate", *map(str, subjects), *(x for pair in {**options, **changes}.items() for x in pair if x)]


def test_evaluate_prints_and_writes(made, tmp_path, capsys, still_camera):
    out = tmp_path / "report"
    assert main(command(made, out, made.model, **{"--sequence": str(still_camera)})) == 0
    printed = capsys.readouterr()
    score = made.scores["model", "8bit"]
    assert f"{score.content:,.0f}" in printed.out and f"{score.total:,.0f}" in printed.out
    assert "report.html" in printed.out and max(map(len, printed.out.splitlines()[:-1])) <= 80
    # A slow machine gets a line of progress now and then, and nothing else.
    progress = re.compile(r".+(: [0-9.e+]+( of [0-9.e+]+)?(, .*)?| \([0-9]+ s\))")
    assert all(map(progress.fullmatch, printed.err.splitlines())), printed.err
    assert sorted(p.name for p in out.iterdir()) == ["grid.png", "report.html", "scores.csv", "sheet.png", "table.md"]
    rows = {row["network"]: row for row in csv.DictReader(io.StringIO((out / "scores.csv").read_text()))}
    assert float(rows[PHOTOS]["flicker_ratio"]) == 1 and float(rows["8bit"]["film_flicker"]) >= 0
    assert main([*command(made, out, made.model), "--json"]) == 0
    figures = {score["network"]: score for score in json.loads(capsys.readouterr().out)}
    assert figures["8bit"]["total"] == pytest.approx(score.total)
    assert figures["8bit"]["l_correlation_16"] == pytest.approx(score.l_correlation_16)
    assert figures[PHOTOS]["chroma_correlation_16"] == pytest.approx(1) and figures["8bit"]["parent_ssim"] < 1


@pytest.mark.parametrize(
    ("subject", "change", "says"),
    [
        ("nowhere", {}, "'nowhere': neither"),
        ("", {}, "'': neither"),
        ("model", {"--paintings": "missing"}, "missing"),
        ("model", {"--content": "missing"}, "missing"),
        ("model", {"--loss-network": "lenet:x"}, "vgg16:FILE"),
        ("model", {"--loss-network": "vgg16:missing.npz"}, "missing.npz"),
        ("model", {"--sequence": "missing.avi"}, "missing.avi"),
        ("model", {"--photos": "0"}, "--photos"),
        ("model", {"--out": "/dev/null/report"}, "/dev/null"),
    ],
)
def test_evaluate_refuses_in_one_line(made, tmp_path, capsys, subject, change, says):
    given = made.model if subject == "model" else subject
    assert main(command(made, tmp_path / "report", given, **change)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err and "Traceback" not in err


def test_damaged_subjects_are_refused_in_one_line(made, tmp_path, capsys):
    shutil.copytree(made.run, tmp_path / "run")
    shutil.copytree(made.model, tmp_path / "model")
    (tmp_path / "run" / "4bit.pt").write_bytes(b"no checkpoint")
    (tmp_path / "model" / "network-8bit.npz").write_bytes(b"no network")
    for name, says in (("run", "4bit.pt: damaged"), ("model", "network-8bit.npz: damaged")):
        assert main(command(made, tmp_path / "report", tmp_path / name)) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and says in err
    (tmp_path / "run" / "run.json").write_text("{")
    assert main(command(made, tmp_path / "report", tmp_path / "run")) == 2
    assert "run.json: damaged" in capsys.readouterr().err


def test_an_interrupted_evaluation_leaves_no_half_report(made, tmp_path, capsys, monkeypatch):
    def interrupted(_: np.ndarray) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(pleinair_training.evaluation, "border_line", interrupted)
    assert main(command(made, tmp_path / "report", made.model)) == 130
    assert capsys.readouterr().err == "pleinair: interrupted\n" and not list((tmp_path / "report").iterdir())


@pytest.mark.skipif(not VGG16_FILE.is_file(), reason="needs VGG-16's weights in ../shared/data")
def test_photos_cost_in_published_units_what_they_always_did(made):
    """The style loss of two photos to The Great Wave; all 14 average 612,066, as docs/training.md has it."""
    data = SHARED / "data"
    names = [p.name for p in (data / "content").iterdir() if p.suffix in (".jpg", ".png")]
    (run,) = find_subjects([str(made.run)])
    files = find_photos(replace(run, held_out=held_out(names, 14)), data / "content", 2)
    loss = LossNetwork("vgg16", VGG16_FILE, (*STYLE_LAYERS["vgg16"], "relu3_3"))
    judge = pleinair_training.evaluation._Judge("vgg16", loss, None, lambda: None)
    with torch.no_grad():
        (photos,) = judge.scores(run, [], files, data / "styles" / "hokusai_great_wave_1831.jpg")
    assert photos.network == PHOTOS and photos.content == 0
    assert photos.style == pytest.approx(760_585, abs=30)
