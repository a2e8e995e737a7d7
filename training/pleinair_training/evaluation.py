"""``pleinair evaluate``: networks on the photos that training never saw, by the figures of :class:`Score`.

Losses as others publish them, so that figures compare: photos at 384 x 256, VGG-16, content = mean squared
difference at relu3_3, style = sum over relu1_2, 2_2, 3_3, 4_3 of the mean squared difference of Gram matrices
(unbalanced), the painting at 384 pixels. A run's stages paint with a margin beyond their halo and the grain that
new models get; a model's networks are painted by its exact painter, with the card's margin and grain. Networks of the
second generation paint every photo in its own light.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pleinair.backends import open_painter
from pleinair.cameras.framing import fit
from pleinair.cameras.opening import open_camera
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.durable import file_sha256
from pleinair.errors import CameraError, ModelError, OptionError, TrainingError
from pleinair.films.steadiness import Steady
from pleinair.images import SUFFIXES, read_image
from pleinair.models import CARD, DEFAULT_GRAIN, FILES, PARENT, Card, load_model, read_card, read_parent, styles
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS
from pleinair.painting.grain import Grain
from pleinair.painting.painter import Painter
from pleinair.painting.tiles import add_margin
from pleinair_training.architecture import Architecture
from pleinair_training.loss_network import CONTENT_LAYER, STYLE_LAYERS, LossNetwork, parse_loss_network
from pleinair_training.losses import ContentLoss, Features, StyleLoss
from pleinair_training.measures import (
    KeptLight,
    border_line,
    changes,
    feature_distance,
    flicker,
    kept_light,
    similarity,
    static_pixels,
)
from pleinair_training.parent import parse_parent
from pleinair_training.photos import load_painting
from pleinair_training.trainer import (
    Settings,
    load_checkpoint,
    load_float,
    load_quantised,
    run_record,
    to_tensor,
)

SIZE = (384, 256)
#: No less than the halo of any network up to five residual blocks, so that no border counts.
MARGIN = 56
#: Frames of a sequence, and their size.
SEQUENCE_FRAMES, SEQUENCE_SIZE = 40, (512, 384)
#: Photos in the pictures of a report, and how many of them for each width.
SHEET_PHOTOS, GRID_PHOTOS = 5, 3
PHOTOS = "photos"

#: uint8 [H, W, 3] to float32 [H, W, 3] in 0..255; whole numbers from quantised networks.
Paint = Callable[[np.ndarray], np.ndarray]
#: Called with a subject's name, its paintings so far, and how many there will be.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Network:
    """One network of a subject: a run's stage (``parent``, ``plain``, ``8bit``) or a model's width (``8bit``).

    ``scored``: whether it has a row; a parent that a model was not rounded from is only there to compare with.
    """

    name: str
    bits: int
    paint: Paint
    macs_per_pixel: float
    bytes: int | None = None
    steps: int | None = None
    minutes: float | None = None
    scored: bool = True


@dataclass(frozen=True)
class Subject:
    """A run or a model to evaluate. ``title`` and ``licence`` are a card's, so any text.

    ``painting`` is the file's name and ``sha256`` its hash, ``style`` where a run found it; ``crop`` is what of
    it was trained on. ``reference`` names the float network that the others are held against.
    """

    name: str
    folder: Path
    title: str
    licence: str
    painting: str
    sha256: str
    style: Path | None
    crop: str
    held_out: frozenset[str]
    width: int | None
    blocks: int | None
    reference: str
    open: Callable[[ExitStack], list[Network]]


@dataclass(frozen=True)
class Score:
    """What is known of one network; the row ``photos`` is the photos themselves, unpainted.

    ``content`` and ``style``: mean losses over ``photos`` photos. ``ratio``: their sum to the float network's.
    ``ssim`` and ``distance``: likeness to the float network's paintings (:mod:`pleinair_training.measures`).
    ``flicker``: grey levels between successive frames of static pixels, each frame painted by itself;
    ``film_flicker``: frames and paintings steadied as in a film; both also as multiples of the sequence's own.
    ``moving_ratio``: the change of all other pixels, each frame painted by itself, as a multiple of the sequence's own.
    ``l_correlation_4`` to ``chroma_correlation_16``: the photo's light that the paintings keep
    (:class:`pleinair_training.measures.KeptLight`); ``parent_ssim``: likeness to the paintings of the float parent with
    instance norm. ``border``: grey levels of a line along the frame's edge. ``bytes``: the network file's, where there
    is one.
    """

    subject: str
    network: str
    photos: int
    content: float
    style: float
    border: float
    bits: int | None = None
    ratio: float | None = None
    ssim: float | None = None
    distance: float | None = None
    flicker: float | None = None
    flicker_ratio: float | None = None
    film_flicker: float | None = None
    film_ratio: float | None = None
    moving_ratio: float | None = None
    bytes: int | None = None
    macs_per_pixel: float | None = None
    width: int | None = None
    blocks: int | None = None
    steps: int | None = None
    minutes: float | None = None
    l_correlation_4: float | None = None
    l_correlation_16: float | None = None
    l_correlation_40: float | None = None
    l_spread_4: float | None = None
    l_spread_16: float | None = None
    l_spread_40: float | None = None
    chroma_correlation_16: float | None = None
    parent_ssim: float | None = None

    @property
    def total(self) -> float:
        """Content plus style."""
        return self.content + self.style


@dataclass(frozen=True)
class Pictures:
    """A subject's paintings, uint8 [256, 384, 3], of the evaluation's ``originals``.

    ``grid``: by network, of the first :data:`GRID_PHOTOS`; ``sheet``: of all, by the network ``preferred``.
    """

    grid: dict[str, list[np.ndarray]]
    preferred: str
    sheet: list[np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """Everything a report is made of; ``loss_network`` is its kind.

    ``originals``: labels and uint8 [256, 384, 3], photos first, then the synthetic day; ``pictures`` by subject.
    """

    loss_network: str
    subjects: list[Subject]
    scores: list[Score]
    originals: list[tuple[str, np.ndarray]]
    pictures: dict[str, Pictures]


# -- what there is to evaluate


def macs_per_pixel(architecture: Architecture) -> float:
    """Multiply-accumulates per output pixel of a network of this shape."""
    total, area = 0.0, 1.0 / architecture.entry**2
    for shape in architecture.convolutions:
        if shape in architecture.tail[:-1]:
            area *= 4  # the upsampling before it
        area /= shape.stride**2
        total += area * shape.inputs * shape.outputs * shape.kernel**2
    return total


def _paint_stage(
    network: torch.nn.Module, kind: torch.dtype, adaptive: bool, image: np.ndarray, grain: int = DEFAULT_GRAIN
) -> np.ndarray:
    padded = add_margin(Grain(grain)(image), MARGIN, 1, adaptive=adaptive)
    pixels = (to_tensor(padded[None], torch.device("cpu")) / 256).to(kind)
    y: torch.Tensor = network(pixels, MARGIN) if adaptive else network(pixels)
    y = y.float()[..., MARGIN:-MARGIN, MARGIN:-MARGIN] * 256
    return np.asarray(y[0].permute(1, 2, 0))


def _paint_model(painter: Painter, image: np.ndarray) -> np.ndarray:
    return painter.paint(image).astype(np.float32)


def _number(value: Any) -> Any:
    """A number of a card or checkpoint, or None for anything else."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _open_run(folder: Path, architecture: Architecture, _: ExitStack) -> list[Network]:
    networks = []
    for stage, bits in (("parent", 32), ("plain", 32), *((f"{b}bit", b) for b in sorted(BITS, reverse=True))):
        path = folder / f"{stage}.pt"
        if not path.exists():
            continue
        network: torch.nn.Module = load_quantised(path, bits)[0] if stage.endswith("bit") else load_float(path)
        # 16-bit accumulators need more than float32 holds.
        kind = torch.float64 if bits == 16 else torch.float32
        paint, state = (
            partial(_paint_stage, network.eval().to(kind), kind, architecture.adaptive),
            load_checkpoint(path),
        )
        steps, minutes = _number(state.get("steps")), _number(state.get("minutes"))
        networks.append(Network(stage, bits, paint, macs_per_pixel(architecture), None, steps, minutes))
    if not networks:
        raise TrainingError(f"run {folder}: none of its stages is finished")
    return networks


def _open_model(folder: Path, card: Card, stack: ExitStack) -> list[Network]:
    networks = _parent_of_model(folder, card)
    for bits in sorted(card.networks, reverse=True):
        model = load_model(str(folder), bits)
        paint = partial(_paint_model, stack.enter_context(closing(open_painter(model))))
        entry, size = card.networks[bits], (folder / FILES["network"].format(bits=bits)).stat().st_size
        macs = model.network.macs_per_pixel()
        networks.append(Network(f"{bits}bit", bits, paint, macs, size, entry.steps, entry.minutes))
    return networks


def _model_shape(folder: Path, card: Card) -> Architecture:
    """A model's shape by its card. Raises ModelError."""
    try:
        return Architecture(**card.architecture)
    except (TypeError, ValueError) as error:
        raise ModelError(f"card {folder / CARD}: architecture {card.architecture!r}: unknown") from error


def _parent_of_model(folder: Path, card: Card) -> list[Network]:
    """The float parent that lies in a model's folder, if there is one."""
    if card.parent_sha256 is None:
        return []
    shape = _model_shape(folder, card)
    parent = parse_parent(read_parent(folder, card), folder / PARENT, shape).eval()
    paint = partial(_paint_stage, parent, torch.float32, shape.adaptive, grain=card.grain)
    # What a network of the second generation is held against is its parent; the first has a float network without norm.
    return [Network("parent", FLOAT_BITS, paint, macs_per_pixel(shape), scored=shape.adaptive)]


def _names(value: Any, what: str) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise TrainingError(f"{what}: lists no held-out photos, so nothing is known that training never saw")
    return frozenset(value)


def _run(folder: Path) -> Subject:
    record = run_record(folder)
    settings = Settings(**record["settings"])
    style = Path(settings.style)
    return Subject(
        name=folder.name,
        folder=folder,
        title="",
        licence="",
        painting=style.name,
        sha256=str(record.get("painting_sha256")),
        style=style,
        crop=settings.style_crop,
        held_out=_names(record.get("held_out"), f"run {folder}"),
        width=settings.width,
        blocks=settings.blocks,
        reference="parent" if settings.architecture.adaptive else "plain",
        open=partial(_open_run, folder, settings.architecture),
    )


def _model(folder: Path) -> Subject:
    card = read_card(folder)
    painting, shape, training = card.painting, card.architecture, card.training
    if training is None or painting.sha256 is None:
        raise ModelError(f"card {folder / CARD}: does not say how it was trained, so it cannot be evaluated")
    return Subject(
        name=folder.name,
        folder=folder,
        title=painting.title,
        licence=painting.licence,
        painting=painting.file,
        sha256=painting.sha256,
        style=None,
        crop=str(training.get("style_crop", "")),
        held_out=_names(training.get("held_out"), f"card {folder / CARD}"),
        width=_number(shape.get("width")),
        blocks=_number(shape.get("blocks")),
        reference="parent" if shape.get("entry", 1) != 1 else f"{FLOAT_BITS}bit",
        open=partial(_open_model, folder, card),
    )


def find_subjects(given: Sequence[str]) -> list[Subject]:
    """The runs' folders, models' folders and styles' names ``given``, once each; all shipped styles for none.

    Raises OptionError for what is none of them, TrainingError or ModelError for a damaged one.
    """
    known = styles()
    found: dict[Path, Subject] = {}
    for text in given or list(known):
        # os.path says no where pathlib raises: a name too long, or with a NUL.
        if text and os.path.isfile(os.path.join(text, "run.json")):
            found.setdefault(Path(text).resolve(), _run(Path(text).resolve()))
        elif text and os.path.isfile(os.path.join(text, CARD)):
            found.setdefault(Path(text).resolve(), _model(Path(text).resolve()))
        elif text in known:
            found.setdefault(known[text].resolve(), _model(known[text].resolve()))
        else:
            raise OptionError(
                f"{text!r}: neither a run's or model's folder nor a style; there are {', '.join(known) or 'none'}"
            )
    if not found:
        raise OptionError("there are no styles to evaluate; name a run's or a model's folder")
    names = Counter(subject.name for subject in found.values())
    return [s if names[s.name] == 1 else replace(s, name=str(s.folder)) for s in found.values()]


def find_painting(subject: Subject, paintings: Path | None) -> Path:
    """The painting that the subject was trained on: where a run found it, or below ``paintings``, by its hash.

    Raises OptionError without ``paintings`` where they are needed, TrainingError when it is not among them.
    """
    if subject.style is not None and subject.style.is_file() and file_sha256(subject.style) == subject.sha256:
        return subject.style
    if paintings is None:
        raise OptionError(
            f"needed: the painting of {subject.name}, {subject.painting}, is not at hand", option="paintings"
        )
    if not paintings.is_dir():
        raise OptionError(f"{paintings}: no such folder", option="paintings")
    files = [p for p in paintings.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    # Whatever it is called by now; but where the name is right, no other need be read.
    for path in sorted(files, key=lambda p: (p.name != subject.painting, p)):
        if file_sha256(path) == subject.sha256:
            return path
    raise TrainingError(
        f"paintings {paintings}: none is {subject.name}'s, {subject.painting or 'a file'} "
        f"of SHA-256 {subject.sha256[:12]}..."
    )


def find_photos(subject: Subject, content: Path, limit: int | None) -> list[Path]:
    """The subject's held-out photos below ``content``, by path, the first ``limit``. Raises TrainingError."""
    files = sorted(p for p in content.rglob("*") if p.name in subject.held_out)
    if not files:
        raise TrainingError(
            f"photos {content}: none of the {len(subject.held_out)} photos that {subject.name} held out is there"
        )
    return files[:limit]


# -- figures


@dataclass(frozen=True)
class Footage:
    """A sequence for flicker: frames, the same steadied, static pixels."""

    frames: list[np.ndarray]
    steadied: list[np.ndarray]
    static: np.ndarray


def read_footage(path: Path) -> Footage:
    """The first frames of a video. Raises CameraError, also when nothing in it stands still."""
    frames = [f.image for f in open_camera(f"video:{path}", size=SEQUENCE_SIZE, frames=SEQUENCE_FRAMES).frames()]
    static = static_pixels(frames)
    if len(frames) < 2 or not static.any():
        raise CameraError(
            f"{path}: two frames or more of a still camera are needed, with parts that rest", option="sequence"
        )
    steady = Steady()
    return Footage(frames, [steady(frame) for frame in frames], static)


def _picture(painting: np.ndarray) -> np.ndarray:
    """A :data:`Paint`'s result as uint8."""
    picture: np.ndarray = np.rint(painting.clip(0, 255)).astype(np.uint8)
    return picture


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _figures(light: KeptLight) -> tuple[float, ...]:
    return tuple(asdict(light).values())


def _mean_light(rows: list[tuple[float, ...]]) -> dict[str, Any]:
    """Means over the photos by a score's names, less the photos that have no contrast to keep."""
    names = (*(field.name for field in fields(KeptLight)), "parent_ssim")
    columns = ([v for v in column if not np.isnan(v)] for column in zip(*rows, strict=True))
    return {name: float(np.mean(known)) if known else None for name, known in zip(names, columns, strict=True)}


class _Judge:
    """Measures subjects with one loss network; ``done`` is called after every painting."""

    def __init__(self, kind: str, loss: LossNetwork, footage: Footage | None, done: Callable[[], None]) -> None:
        self._layers, self._content = STYLE_LAYERS[kind], ContentLoss(CONTENT_LAYER[kind])
        self._loss, self._footage, self._done = loss, footage, done

    def _features(self, picture: np.ndarray) -> Features:
        features: Features = self._loss(to_tensor(picture[None], torch.device("cpu")))
        return features

    def scores(self, subject: Subject, networks: list[Network], files: list[Path], painting: Path) -> list[Score]:
        """Scores of the photos themselves and of every network."""
        style = StyleLoss(self._features(load_painting(painting, SIZE[0], subject.crop)), self._layers)
        values: dict[str, list[tuple[float, ...]]] = {name: [] for name in (PHOTOS, *(n.name for n in networks))}
        lights: dict[str, list[tuple[float, ...]]] = {name: [] for name in values}
        nothing = (np.nan, np.nan)
        for path in files:
            photo = fit(read_image(path), SIZE)
            wanted = self._features(photo)
            values[PHOTOS].append((0.0, float(style(wanted)), border_line(photo), *nothing))
            lights[PHOTOS].append((*_figures(kept_light(photo, photo)), np.nan))
            truth: tuple[np.ndarray, Features] | None = None
            parent: np.ndarray | None = None
            # The parent and the float network first, as the others are held against them.
            for network in sorted(networks, key=lambda n: (n.name != "parent", n.name != subject.reference)):
                painted = network.paint(photo)
                features, picture = self._features(painted), _picture(painted)
                likeness = nothing
                if network.name == subject.reference:
                    truth = picture, features
                elif truth is not None and network.scored:
                    likeness = similarity(picture, truth[0]), feature_distance(features, truth[1], self._layers)
                losses = float(self._content(features, wanted)), float(style(features))
                values[network.name].append((*losses, border_line(picture), *likeness))
                if network.name == "parent":
                    parent, to_parent = picture, np.nan
                else:
                    to_parent = np.nan if parent is None else similarity(picture, parent)
                lights[network.name].append((*_figures(kept_light(picture, photo)), to_parent))
                self._done()
        means = {name: np.mean(rows, axis=0).tolist() for name, rows in values.items()}
        whole = sum(means[subject.reference][:2]) if subject.reference in means else np.nan
        content, style_mean, border, *_ = means[PHOTOS]
        photos = Score(subject.name, PHOTOS, len(files), content, style_mean, border)
        scores = [replace(photos, **self._flickers(None), **_mean_light(lights[PHOTOS]))]
        for n in (n for n in networks if n.scored):
            content, style_mean, border, ssim, distance = means[n.name]
            score = Score(
                subject=subject.name,
                network=n.name,
                photos=len(files),
                content=content,
                style=style_mean,
                border=border,
                bits=n.bits,
                ratio=_known((content + style_mean) / whole),
                ssim=_known(ssim),
                distance=_known(distance),
                bytes=n.bytes,
                macs_per_pixel=n.macs_per_pixel,
                width=subject.width,
                blocks=subject.blocks,
                steps=n.steps,
                minutes=n.minutes,
            )
            scores.append(replace(score, **self._flickers(n.paint), **_mean_light(lights[n.name])))
        return scores

    def _flickers(self, paint: Paint | None) -> dict[str, Any]:
        """How a network's paintings of the sequence change, or the sequence itself."""
        if self._footage is None:
            return {}

        footage, steady = self._footage, Steady()

        def painted(frames: list[np.ndarray], after: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
            for frame in frames:
                if paint is not None:
                    frame = after(_picture(paint(frame)))
                    self._done()
                yield frame

        # NaN for a sequence without any change.
        own, own_moving = (change or np.nan for change in changes(footage.frames, footage.static))
        alone, moving = changes(painted(footage.frames, lambda picture: picture), footage.static)
        film = flicker(painted(footage.steadied, steady), footage.static)
        return {
            "flicker": alone,
            "flicker_ratio": _known(alone / own),
            "film_flicker": film,
            "film_ratio": _known(film / own),
            "moving_ratio": _known(moving / own_moving),
        }

    def pictures(self, networks: list[Network], scores: list[Score], originals: list[np.ndarray]) -> Pictures:
        """Paintings of the ``originals``, photos first."""

        def paintings(network: Network, images: list[np.ndarray]) -> Iterator[np.ndarray]:
            for image in images:
                yield _picture(network.paint(image))
                self._done()

        totals = {score.network: score.total for score in scores}
        # A parent is not what anybody paints with, so it comes last, whatever its losses.
        order = sorted(networks, key=lambda n: (n.name != "8bit", n.name == "parent", totals[n.name]))
        grid = {n.name: list(paintings(n, originals[:GRID_PHOTOS])) for n in networks}
        return Pictures(grid, order[0].name, list(paintings(order[0], originals)))


def _originals(files: list[list[Path]]) -> list[tuple[str, np.ndarray]]:
    """Photos for the pictures and four hours of the synthetic day, each with its label.

    Photos that all subjects held out come first, then those of the collection that shows best, then by name.
    """
    held = Counter(path for found in files for path in found)
    chosen = sorted(held, key=lambda p: (-held[p], not p.name.startswith("budgie__"), p.name))[:SHEET_PHOTOS]
    photos = [(path.stem.rpartition("__")[2], fit(read_image(path), SIZE)) for path in chosen]
    day = SyntheticCamera(SIZE, 4, every=6.5 * 3600, start=5.5 * 3600).frames()
    return photos + [(f"synthetic {frame.name}", frame.image) for frame in day]


@torch.no_grad()
def evaluate(
    given: Sequence[str],
    *,
    paintings: Path | None,
    content: Path,
    loss_network: str,
    sequence: Path | None = None,
    photos: int | None = None,
    report: Report | None = None,
) -> Evaluation:
    """Measure the subjects ``given`` (see :func:`find_subjects`).

    Args:
        given: folders of runs or models, or names of styles; none for all styles.
        paintings: folder tree of the paintings that runs do not find themselves.
        content: folder tree of the photos that training kept apart.
        loss_network: ``vgg16:FILE`` or ``vgg19:FILE``.
        sequence: video of a still camera; without it no flicker is measured.
        photos: number of photos for each subject; all when None.
        report: called after every painting.

    Raises:
        OptionError, TrainingError, ModelError, CameraError: what a user can mend.
    """
    kind, weights = parse_loss_network(loss_network)
    if not os.path.isdir(content):
        raise OptionError(f"{content}: no such folder", option="content")
    subjects = find_subjects(given)
    found = {s.name: find_painting(s, paintings) for s in subjects}
    files = {s.name: find_photos(s, content, photos) for s in subjects}
    loss = LossNetwork(kind, weights, (*STYLE_LAYERS[kind], CONTENT_LAYER[kind]))
    footage = None if sequence is None else read_footage(sequence)
    originals = _originals(list(files.values()))
    images = [image for _, image in originals]
    evaluation = Evaluation(kind, subjects, [], originals, {})
    for subject in subjects:
        with ExitStack() as stack:
            networks = subject.open(stack)
            scored = [network for network in networks if network.scored]
            each = GRID_PHOTOS + (2 * len(footage.frames) if footage else 0)
            count = len(networks) * len(files[subject.name]) + len(scored) * each + len(images)
            done = _Counter(subject.name, count, report)
            judge = _Judge(kind, loss, footage, done)
            scores = judge.scores(subject, networks, files[subject.name], found[subject.name])
            evaluation.scores.extend(scores)
            evaluation.pictures[subject.name] = judge.pictures(scored, scores, images)
    return evaluation


class _Counter:
    """Counts a subject's paintings and reports each."""

    def __init__(self, name: str, total: int, report: Report | None) -> None:
        self._name, self._total, self._report, self._done = name, total, report, 0

    def __call__(self) -> None:
        self._done += 1
        if self._report is not None:
            self._report(self._name, self._done, self._total)
