"""Loss networks and losses against published numbers and formulas."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pleinair.errors import OptionError, TrainingError
from pleinair_training.loss_network import PUBLISHED, STYLE_LAYERS, LossNetwork, parse_loss_network
from pleinair_training.losses import ContentLoss, StabilityLoss, StyleLoss, TotalVariationLoss, gram_matrix
from tests.training.conftest import VGG16_FILE, random_vgg16

ALL = STYLE_LAYERS["vgg16"]


def golden_image() -> torch.Tensor:
    """64 x 64: red rises along the width, green along the height, blue is one half."""
    ramp = torch.linspace(0, 255, 64)
    return torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.full((64, 64), 127.5)])[None]


@pytest.mark.skipif(not VGG16_FILE.exists(), reason="needs ../shared/data/vgg16")
def test_vgg16_gives_its_published_means():
    features = LossNetwork("vgg16", VGG16_FILE, ALL)(golden_image())
    means = [float(features[layer].mean()) for layer in ALL]
    np.testing.assert_allclose(means, [148.621, 186.929, 181.923, 22.267], rtol=2e-5)


@pytest.mark.skipif(not VGG16_FILE.exists(), reason="needs ../shared/data/vgg16")
def test_bfloat16_stays_near():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    exact = LossNetwork("vgg16", VGG16_FILE, ALL)(image)
    rough = LossNetwork("vgg16", VGG16_FILE, ALL, torch.bfloat16)(image)
    for layer in ALL:
        assert float((exact[layer] - rough[layer]).norm() / exact[layer].norm()) < 0.02


def _torchvision_state(path, kind: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A state file as torchvision publishes it (names by position in ``features``)."""
    plan = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}[kind]
    state, index, inputs = {}, 0, 3
    for outputs, count in zip((64, 128, 256, 512, 512), plan, strict=True):
        for _ in range(count):
            state[f"features.{index}.weight"] = torch.from_numpy(
                rng.normal(0, (2 / 9 / inputs) ** 0.5, (outputs, inputs, 3, 3)).astype(np.float32)
            )
            state[f"features.{index}.bias"] = torch.zeros(outputs)
            inputs, index = outputs, index + 2
        index += 1
    state["classifier.6.weight"] = torch.zeros(10, 10)
    torch.save(state, path)
    return state


def test_vgg19_from_a_torchvision_file_equals_a_chain_by_hand(tmp_path):
    state = _torchvision_state(tmp_path / "vgg19-x.pth", "vgg19", np.random.default_rng(0))
    image = torch.rand(1, 3, 32, 32) * 255
    got = LossNetwork("vgg19", tmp_path / "vgg19-x.pth", ("relu1_1", "relu4_2"))(image)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    # torchvision's vgg19.features: ReLU after each convolution, pools at 4, 9, 18.
    for index in (0, 2, "pool", 5, 7, "pool", 10, 12, 14, 16, "pool", 19, 21):
        if index == "pool":
            x = F.max_pool2d(x, 2)
            continue
        x = F.relu(F.conv2d(x, state[f"features.{index}.weight"], padding=1))
        if index == 0:
            torch.testing.assert_close(got["relu1_1"], x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got["relu4_2"], x, rtol=1e-3, atol=1e-3)


def test_other_files_are_refused_by_name(tmp_path):
    _torchvision_state(tmp_path / "vgg19.pth", "vgg19", np.random.default_rng(0))
    with pytest.raises(TrainingError, match=r"vgg19\.pth: layer conv4_1 is missing, vgg16 needs"):
        LossNetwork("vgg16", tmp_path / "vgg19.pth", ALL)
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.npz").write_text("hello")
    torch.save(torch.nn.Conv2d(3, 3, 1), tmp_path / "module.pth")  # a whole module is pickled code
    np.savez(tmp_path / "objects.npz", **{"conv1_1.weight": np.array([object()])})
    for name in ("text.pth", "text.npz", "module.pth", "objects.npz", "missing.npz"):
        with pytest.raises(TrainingError, match=name):
            LossNetwork("vgg16", tmp_path / name, ALL)
    with pytest.raises(OptionError, match="relu9_9.*relu1_1"):
        LossNetwork("vgg16", random_vgg16(tmp_path / "v.npz"), ("relu9_9",))
    for text in ("vgg16:", "resnet:x", "x", ""):
        with pytest.raises(OptionError, match="vgg16:FILE or vgg19:FILE"):
            parse_loss_network(text)


def test_the_published_file_is_fetched_once_and_its_hash_checked(tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    _torchvision_state(served / "state.pth", "vgg19", np.random.default_rng(0))
    data = (served / "state.pth").read_bytes()
    name = f"vgg19-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    (served / name).write_bytes(data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(PUBLISHED, "vgg19", f"file://{served}/{name}")
    kind, path = parse_loss_network("vgg19")
    assert (kind, path) == ("vgg19", tmp_path / "cache/pleinair" / name) and path.read_bytes() == data
    (served / name).unlink()
    assert parse_loss_network("vgg19")[1] == path  # not fetched again
    path.unlink()
    with pytest.raises(TrainingError, match=r"vgg19: file://.* could not be fetched"):
        parse_loss_network("vgg19")
    (served / name).write_bytes(data[:-1] + b"?")
    with pytest.raises(TrainingError, match="invalid hash"):
        parse_loss_network("vgg19")
    assert not list(path.parent.iterdir())


def test_gram_matrix_is_the_papers():
    f = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    wanted = torch.einsum("nchw,ndhw->ncd", f, f) / (3 * 4 * 5)
    torch.testing.assert_close(gram_matrix(f), wanted)


def test_losses_by_hand():
    a, b = {"l": torch.rand(1, 2, 3, 3)}, {"l": torch.rand(1, 2, 3, 3)}
    assert float(ContentLoss("l")(a, b)) == pytest.approx(float(((a["l"] - b["l"]) ** 2).mean()))
    painting = {"l": torch.rand(1, 2, 4, 4), "m": torch.rand(1, 3, 2, 2) * 100}
    painted = {k: torch.rand(2, *v.shape[1:]) for k, v in painting.items()}
    plain = StyleLoss(painting, ("l", "m"))
    balanced = StyleLoss(painting, ("l", "m"), balanced=True)
    terms, power = {}, {}
    for k in ("l", "m"):
        target = gram_matrix(painting[k])
        terms[k] = float(((gram_matrix(painted[k]) - target) ** 2).mean())
        power[k] = float((target**2).mean())
    assert float(plain(painted)) == pytest.approx(terms["l"] + terms["m"], rel=1e-5)
    mean = (power["l"] + power["m"]) / 2
    assert float(balanced(painted)) == pytest.approx(sum(terms[k] * mean / power[k] for k in terms), rel=1e-5)
    assert float(balanced(painting)) == 0
    image = torch.zeros(1, 3, 2, 2)
    image[..., 1] = 256
    assert float(TotalVariationLoss()(image)) == pytest.approx(1.0)


def test_stability_sees_flicker_and_forgives_what_moves_along():
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 200
    loss = StabilityLoss(noise=0.0, gain=0.0, shift=2)
    moves = lambda x: 255 - x  # noqa: E731
    for seed in range(5):  # a painter that moves with the frame is stable whatever the shift
        assert float(loss(moves, pixels, moves(pixels), seed)) == 0
    grid = (torch.arange(64) % 4 == 0).float() * 100  # one whose strokes stay where they are is not
    stuck = lambda x: x + grid  # noqa: E731
    assert max(float(loss(stuck, pixels, stuck(pixels), seed)) for seed in range(5)) > 0.01
    noisy = StabilityLoss(noise=10.0, gain=0.0, shift=0)
    assert float(noisy(moves, pixels, moves(pixels), 1)) == pytest.approx((10 / 256) ** 2, rel=0.1)
    assert float(noisy(moves, pixels, moves(pixels), 1)) == float(noisy(moves, pixels, moves(pixels), 1))


def test_a_screen_is_seen_and_texture_is_not():
    """Periods 2 and 4 each add their own amplitude squared; noise of the same amplitude adds next to nothing."""
    from pleinair_training.losses import GridLoss

    rng = np.random.default_rng(0)
    flat = np.full((1, 3, 64, 64), 100.0)
    y, x = np.mgrid[:64, :64]
    for period in (2, 4):
        screen = flat + np.where((y % period == 0) & (x % period == 0), 8.0, 0.0)
        phases = np.zeros(period * period)
        phases[0] = 8.0
        alone = float(((phases - phases.mean()) ** 2).mean())
        got = float(GridLoss()(torch.from_numpy(screen)))
        # A screen of period 2 is one of period 4, too. Its steps are a mosaic besides, counted by hand.
        steps = mosaic(screen)
        assert got == pytest.approx((2 * alone if period == 2 else alone) + steps, rel=0.35)
        noise = flat + rng.permutation((screen - flat).reshape(-1)).reshape(flat.shape)
        assert float(GridLoss()(torch.from_numpy(noise))) < 0.25 * got
    assert float(GridLoss()(torch.from_numpy(flat))) == 0


def mosaic(pixels: np.ndarray) -> float:
    """The variance of the steps between pixels over their places in blocks of 4, for both axes, in NumPy."""
    total = 0.0
    for axis in (2, 3):
        steps = np.moveaxis(np.diff(pixels, axis=axis), axis, 3)
        roots = np.sqrt([np.square(steps[..., k::4]).mean((2, 3)) + 1 for k in range(4)])
        total += float(roots.var(0).mean())
    return total


def test_the_grid_loss_sees_steps_between_blocks():
    from pleinair_training.losses import GridLoss

    rng = np.random.default_rng(3)
    blocks = np.repeat(np.repeat(rng.uniform(60, 180, (1, 3, 40, 40)), 4, 2), 4, 3)
    # Blocks of 5 pixels begin at every place of a block of 4.
    smooth = np.repeat(np.repeat(rng.uniform(60, 180, (1, 3, 40, 40)), 5, 2), 5, 3)[..., :160, :160]
    seen, unseen = (float(GridLoss()(torch.from_numpy(p))) for p in (blocks, smooth))
    # Pixels of a block are alike, so there is no screen in it.
    assert seen == pytest.approx(mosaic(blocks), rel=0.05)
    assert unseen < 0.1 * seen


def test_the_light_loss_is_one_minus_correlation():
    from pleinair_training.losses import LightLoss

    rng = np.random.default_rng(1)
    small = rng.uniform(20, 230, (6, 8))
    photo = np.repeat(np.repeat(small, 40, 0), 40, 1)[None, None] * np.ones((1, 3, 1, 1))
    photo, loss = torch.from_numpy(photo), LightLoss(floor=0.001)
    assert float(loss(photo * 0.5 + 60, photo)) == pytest.approx(0, abs=1e-4)
    assert float(loss(255 - photo, photo)) == pytest.approx(2, abs=1e-4)
    # Against NumPy's own correlation of the same cells.
    other = torch.from_numpy(rng.uniform(0, 255, photo.shape))
    expected = 0.0
    for cell in (16, 40):
        cells = [
            np.array(
                [
                    (p[0] * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(0)[i : i + cell, j : j + cell].mean()
                    for i in range(0, p.shape[2] - cell + 1, cell // 2)
                    for j in range(0, p.shape[3] - cell + 1, cell // 2)
                ]
            )
            for p in (other.numpy(), photo.numpy())
        ]
        expected += (1 - np.corrcoef(*cells)[0, 1]) / 2
    assert float(loss(other, photo)) == pytest.approx(expected, abs=1e-4)
    flat = torch.full((1, 3, 120, 160), 9.0)
    assert float(LightLoss()(flat, flat)) == 1.0 and not torch.isnan(LightLoss()(flat, photo[..., :120, :160].float()))
