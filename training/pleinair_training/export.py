"""A finished run to a model folder: QONNX, integer network, CPU model, card; each checked against the others.

The Brevitas network is exported by Brevitas's own exporter and cleaned up by qonnx; the integer network is
read from that file, not from the network in memory, and the CPU model is built from the integer network. The
run's float network goes with them where it is asked for, to compare with. An adaptive network is rounded first;
its QONNX file is written from the integers and read back, and its float network is the parent that lies beside it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from pleinair.engines.exact import EngineRunner, check_image, differing, exact_runner
from pleinair.engines.meter import EngineMeter
from pleinair.engines.onnxruntime import OnnxRunner
from pleinair.errors import EngineError, ModelError, OptionError, OutputError, TrainingError
from pleinair.images import write_bytes
from pleinair.models import CARD, CARD_FORMAT, FILES, PARENT, read_card, read_parent
from pleinair.network import floating as float_network
from pleinair.network.chain import DepthToSpace, SpaceToDepth, Upsample
from pleinair.network.floating import FLOAT_BITS, FloatConvolution, FloatLayer, FloatNetwork, FloatNorm, FloatResidual
from pleinair.network.integer import BITS, IntegerNetwork, dump
from pleinair.network.light import Light, in_light
from pleinair.network.onnx import build_onnx
from pleinair.network.qonnx import read_qonnx
from pleinair.network.qonnx_writer import PIXELS, light_inputs, write_qonnx
from pleinair.painting.grain import Grain
from pleinair.painting.meter import measure, paint
from pleinair.painting.tiles import Window, add_margin, round_up
from pleinair_training.adaptive_net import AdaptiveTransformNet
from pleinair_training.architecture import Architecture, ConvolutionShape
from pleinair_training.parent import dump_parent, parse_parent
from pleinair_training.photos import Photos
from pleinair_training.quantized_net import QuantizedTransformNet
from pleinair_training.rounding import average_light, round_network
from pleinair_training.trainer import Settings, load_checkpoint, load_float, load_quantised, run_record
from pleinair_training.transform_net import TransformNet

_TRACE_SIDE = 64
#: Photos whose activations choose the scales of a rounded network.
_CALIBRATION_PHOTOS = 12
#: Their margin, above the halo of any network of up to five residual blocks.
_CALIBRATION_MARGIN = 56


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its steps and warns of packages that are not needed."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def export_qonnx_bytes(network: QuantizedTransformNet) -> bytes:
    """The network as QONNX, one self-contained file: input float [1, 3, 64, 64] of pixel / 256.

    Convolutions carry the architecture's layer names; the exporter's traces (with paths of this machine's
    source files) are taken out.
    """
    network.eval()
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        from brevitas.export import export_qonnx
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.util.cleanup import cleanup_model

        path = Path(folder) / "network.onnx"
        export_qonnx(network, args=torch.zeros(1, 3, _TRACE_SIDE, _TRACE_SIDE), export_path=str(path))
        model = cleanup_model(ModelWrapper(onnx.load(str(path)))).model
    shapes = iter(network.architecture.convolutions)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        if node.op_type == "Conv":
            node.name = next(shapes).name
    for part in (model, model.graph):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    data: bytes = model.SerializeToString(deterministic=True)
    return with_quantised_weights(data)


def with_quantised_weights(data: bytes) -> bytes:
    """QONNX bytes with each weight as its integer times its scale: the same network, in fewer different numbers.

    The exporter leaves the weights as training had them, which says nothing more and hardly compresses.
    """
    integers = read_qonnx(data, "as exported")
    model = onnx.load_model_from_string(data)
    quantisers = {node.output[0]: node for node in model.graph.node if node.op_type == "Quant"}
    constants = {i.name: i for i in model.graph.initializer}
    convolutions = {c.name: c for c in integers.convolutions()}
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight, scale = (constants[name] for name in quantisers[node.input[1]].input[:2])
            values = convolutions[node.name].weight * onnx.numpy_helper.to_array(scale)
            weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weight.name))
    changed: bytes = model.SerializeToString(deterministic=True)
    if dump(read_qonnx(changed, "as exported")) != dump(integers):
        raise RuntimeError("quantised weights are not what they were")
    return changed


def float_network_of(network: TransformNet) -> FloatNetwork:
    """A float network as painters read it: a parent of the second generation, or a frozen one with its norm folded."""
    if network.architecture.adaptive:
        return _normed(network)
    plain = network.folded()

    def convolution(shape: ConvolutionShape) -> FloatConvolution:
        weight, bias = (tensor.numpy().astype(np.float32) for tensor in plain[shape.name])
        return FloatConvolution(shape.name, weight, bias, shape.stride, shape.role == "activation")

    architecture = network.architecture
    layers: list[FloatLayer] = [convolution(shape) for shape in architecture.head]
    layers += [FloatResidual(tuple(map(convolution, pair))) for pair in architecture.residual]
    for shape in architecture.tail[:-1]:
        layers += [Upsample(), convolution(shape)]
    return float_network.validate(FloatNetwork((*layers, convolution(architecture.tail[-1]))))


def _normed(network: TransformNet) -> FloatNetwork:
    """A parent of the second generation, whose last convolution leaves pixels."""

    def convolution(shape: ConvolutionShape) -> FloatConvolution:
        layer = network.layer(shape.name)
        weight, bias, norm = layer.convolution.weight.detach(), torch.zeros(shape.outputs), None
        if layer.norm is None:
            assert layer.convolution.bias is not None
            weight, bias = 0.25 * weight, 0.5 + 0.25 * layer.convolution.bias.detach()
        else:
            norm = FloatNorm(*(t.detach().numpy().astype(np.float32) for t in (layer.norm.weight, layer.norm.bias)))
        relu = shape.role == "activation"
        return FloatConvolution(shape.name, weight.numpy().astype(np.float32), bias.numpy(), shape.stride, relu, norm)

    shape = network.architecture
    layers: list[FloatLayer] = [SpaceToDepth(shape.entry), *map(convolution, shape.head)]
    layers += [FloatResidual(tuple(map(convolution, pair))) for pair in shape.residual]
    for last in shape.tail[:-1]:
        layers += [Upsample(), convolution(last)]
    layers += [convolution(shape.tail[-1]), DepthToSpace(shape.exit)]
    return float_network.validate(FloatNetwork(tuple(layers)))


def parent_network(data: bytes, path: Path, shape: Architecture) -> FloatNetwork:
    """The float network of a parent's file; ``path`` names it in errors. Raises ModelError."""
    return float_network_of(parse_parent(data, path, shape))


@torch.no_grad()
def brevitas_painting(network: QuantizedTransformNet, image: np.ndarray, margin: int = 0) -> np.ndarray:
    """The Brevitas network in evaluation on uint8 [H, W, 3]; float64 at 16 bits, where float32 is not enough.

    ``margin``: of the image, what an adaptive network's light is not of.
    """
    network.eval()
    kind = torch.float64 if network.bits > 8 else torch.float32
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(kind) / 256
    y = network.to(kind)(x, margin)[0] * 256
    network.float()
    painted: np.ndarray = y.permute(1, 2, 0).round().to(torch.uint8).numpy()
    return painted


def _check_equal(network: QuantizedTransformNet, integers: IntegerNetwork) -> None:
    """Raise EngineError unless Brevitas, the reference and the CPU model agree on a test picture."""
    image = check_image()
    if wrong := differing(integers, lambda picture: brevitas_painting(network, picture), image):
        raise EngineError(f"Brevitas and the integer network differ in {wrong} of {image.size} values")
    exact_runner(integers)
    if not integers.wide and (wrong := differing(integers, OnnxRunner(integers, wide_sums=True), image)):
        raise EngineError(f"the graph for other programs paints {wrong} of {image.size} values differently")


def export_run(
    run: Path,
    out: Path,
    *,
    painting: str,
    painting_licence: str,
    licence: str,
    margin: int | None,
    grain: int,
    with_float: bool = False,
    bits: Sequence[int] = (),
) -> list[str]:
    """Write a run's networks and its parent to a model folder; return a line about each network.

    Args:
        run: the run's folder.
        out: the model folder; the folder that it is in must exist.
        painting: the painting's title, artist and year.
        margin: pixels around a frame; None takes the halo, rounded up to the stride, the least at which edges
            measure like the interior.
        grain: grey levels of grain that is added before painting.
        with_float: also write the float network that the others were made from, as painters read it.
        bits: widths of an adaptive run's networks, 8 when there are none. A width that the run has a quantised stage of
            is that stage's; to others the parent is rounded.

    Raises:
        TrainingError: the run has no quantised network.
        ContractError: a network breaks the integer contract.
        EngineError: a network's forms paint different pixels.
        OutputError: the folder cannot be written.
    """
    record = run_record(run)
    settings = Settings(**record["settings"])
    if not out.parent.is_dir():
        raise OutputError(f"{out}: the folder {out.parent} does not exist", option="out")
    folder = _ModelFolder(out)
    _add_networks(folder, run, settings, bits=bits, grain=grain, with_float=with_float)
    folder.add_parent(run / "parent.pt")
    work = {"title": painting, "licence": painting_licence, "file": Path(settings.style).name}
    card = {
        "format": CARD_FORMAT,
        "version": 1,
        "style": out.name,
        "painting": {**work, "sha256": record["painting_sha256"]},
        "licence": licence,
        "margin": folder.least_margin if margin is None else margin,
        "grain": grain,
        "architecture": settings.architecture.as_record(),
        "training": _training(settings, record),
        **folder.parent,
        "networks": folder.networks,
    }
    folder.write(card)
    return folder.lines


def _add_networks(
    folder: _ModelFolder, run: Path, settings: Settings, *, bits: Sequence[int], grain: int, with_float: bool
) -> None:
    """The run's networks, each of its forms checked against the others. Raises what :func:`export_run` raises."""
    if settings.architecture.adaptive:
        _add_adaptive(folder, run, settings, bits or (8,), grain, with_float)
    elif bits:
        raise OptionError("this run's networks have the bits that they were trained with", option="bits")
    else:
        _add_quantised(folder, run, with_float)
    if not folder.networks:
        raise TrainingError(f"run {run}: holds no quantised network yet; go on with `pleinair train`, and 8 bits")


def _training(settings: Settings, record: dict[str, Any]) -> dict[str, Any]:
    """What a card says of the training. Paths are the trainer's own affair; names and hashes are not."""
    kind, _, weights = settings.loss_network.partition(":")
    private = {"style", "content", "loss_network"}
    return {
        **{k: v for k, v in record["settings"].items() if k not in private},
        "loss_network": kind,
        "loss_network_file": Path(weights).name,
        "loss_network_sha256": record["loss_network_sha256"],
        "photos": record["photos"],
        "held_out": record["held_out"],
    }


class _ModelFolder:
    """The files of a model folder and what its card says of them, until all of them are there to be written."""

    def __init__(self, out: Path) -> None:
        self.out, self.least_margin = out, 0
        self.lines: list[str] = []
        self.networks: dict[str, Any] = {}
        self.parent: dict[str, Any] = {}
        self._files: dict[str, bytes] = {}

    def add(self, network: IntegerNetwork | FloatNetwork, written: dict[str, bytes], state: dict[str, Any]) -> None:
        """A network's files by role; ``state`` is the checkpoint that it came from."""
        bits = network.bits
        for role, data in written.items():
            self._files[FILES[role].format(bits=bits)] = data
        self.networks[str(bits)] = {
            "sha256": {role: hashlib.sha256(data).hexdigest() for role, data in written.items()},
            "training_losses": state["losses"],
            "steps": state["steps"],
            **({"minutes": state["minutes"]} if "minutes" in state else {}),
            **({"settings": state["settings"]} if "settings" in state else {}),
            **_shape_record(network),
        }
        self.least_margin = max(self.least_margin, round_up(network.halo, network.stride))
        self.lines.append(_line(self.out, network, written["network"]))

    def add_parent(self, path: Path) -> None:
        """The float parent with its instance norm, where the run has one."""
        if path.exists() and not (network := load_float(path)).frozen:
            self._files[PARENT] = data = dump_parent(network)
            self.parent = {"parent": {"sha256": hashlib.sha256(data).hexdigest()}}

    def write(self, card: dict[str, Any]) -> None:
        """All files, the card last. Raises OutputError."""
        try:
            self.out.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.out}: {error.strerror}", option="out") from error
        for name, data in self._files.items():
            write_bytes(self.out / name, data)
        write_bytes(self.out / CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())


def _add_quantised(folder: _ModelFolder, run: Path, with_float: bool) -> None:
    """The quantised stages' networks, and the float one they came from."""
    for bits in BITS:
        path = run / f"{bits}bit.pt"
        if not path.exists():
            continue
        network, state = load_quantised(path, bits)
        qonnx = export_qonnx_bytes(network)
        integers = read_qonnx(qonnx, f"{path} as QONNX")
        _check_equal(network, integers)
        # No other program could do much with a 16-bit graph; painters build theirs anyway.
        cpu = {} if integers.wide else {"cpu": build_onnx(integers)}
        folder.add(integers, {"network": dump(integers), "qonnx": gzip.compress(qonnx, mtime=0), **cpu}, state)
    if with_float:
        path = run / "plain.pt"
        plain = float_network_of(load_float(path))
        folder.add(plain, {"network": float_network.dump(plain)}, load_checkpoint(path))


def _add_adaptive(
    folder: _ModelFolder, run: Path, settings: Settings, bits: Sequence[int], grain: int, with_float: bool
) -> None:
    """Each width's quantised stage, or the parent rounded; and the parent itself, rounded as its file has it.

    Calibration photos are the run's, less those kept apart.
    """
    path = run / "parent.pt"
    if not path.exists():
        return
    parent = load_float(path, settings.architecture).eval()
    photos = Photos(Path(settings.content), settings.crop, 1, settings.seed, settings.hold_out)
    for width in sorted(set(bits)):
        seen = [
            add_margin(Grain(grain)(crops[0]), _CALIBRATION_MARGIN, 4, adaptive=True)
            for crops in photos.stream("calibration", 0, _CALIBRATION_PHOTOS)
        ]
        stage = run / f"{width}bit.pt"
        if stage.exists():
            network, state = load_quantised(stage, width)
            assert isinstance(network, AdaptiveTransformNet)
            integers = network.to_integers()
            _check_brevitas(network, integers, seen, _CALIBRATION_MARGIN)
            integers = in_light(integers, average_light(integers, seen, _CALIBRATION_MARGIN))
        else:
            integers, state = round_network(parent, width, seen, margin=_CALIBRATION_MARGIN), load_checkpoint(path)
        _check_lights(integers, seen, _CALIBRATION_MARGIN)
        cpu = {} if integers.wide else {"cpu": build_onnx(integers)}
        qonnx = gzip.compress(adaptive_qonnx(integers), mtime=0)
        folder.add(integers, {"network": dump(integers), "qonnx": qonnx, **cpu}, state)
    if with_float:
        floats = parent_network(dump_parent(parent), path, settings.architecture)
        folder.add(floats, {"network": float_network.dump(floats)}, load_checkpoint(path))


def add_float(folder: Path) -> str:
    """Add the float network to an adaptive model's folder, from its parent; return a line about it.

    Raises ModelError: no model's folder, no parent, or a shape without norm. Raises OutputError.
    """
    card = read_card(folder)
    data = read_parent(folder, card)
    try:
        shape = Architecture(**card.architecture)
    except (TypeError, ValueError) as error:
        raise ModelError(f"card {folder / CARD}: architecture {card.architecture!r}: unknown") from error
    if not shape.adaptive:
        raise ModelError(f"style {folder.resolve().name}: not adaptive; its float network comes from its run alone")
    network = parent_network(data, folder / PARENT, shape)
    written = float_network.dump(network)
    values = json.loads((folder / CARD).read_bytes())
    sha256 = {"network": hashlib.sha256(written).hexdigest()}
    values["networks"][str(FLOAT_BITS)] = {"sha256": sha256, **_shape_record(network)}
    write_bytes(folder / FILES["network"].format(bits=FLOAT_BITS), written)
    write_bytes(folder / CARD, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
    return _line(folder, network, written)


def _shape_record(network: IntegerNetwork | FloatNetwork) -> dict[str, Any]:
    """What a card says of any network by itself."""
    return {
        "macs_per_pixel": network.macs_per_pixel(),
        "halo": network.halo,
        **({"adaptive": True} if network.adaptive else {}),
    }


def _line(folder: Path, network: IntegerNetwork | FloatNetwork, written: bytes) -> str:
    work = network.macs_per_pixel()
    return f"{folder}: {network.bits} bits, {len(written):,} bytes, {work:,.0f} MAC a pixel"


def adaptive_qonnx(network: IntegerNetwork) -> bytes:
    """The QONNX file of an adaptive network, which reads as the same network."""
    data = write_qonnx(network)
    if dump(read_qonnx(data, "as written")) != dump(network):
        raise RuntimeError("the QONNX file holds another network")
    return data


def _qonnx_painting(network: IntegerNetwork, light: Light, image: np.ndarray) -> np.ndarray:
    """The QONNX file in a light, on uint8 [H, W, 3], executed by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that has a default
    data = write_qonnx(network, image.shape[:2])
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    pixels = image.transpose(2, 0, 1)[None].astype(np.float32)
    (painted,) = session.run(None, {PIXELS: pixels, **light_inputs(network, light)})
    values: np.ndarray = painted[0].transpose(1, 2, 0).astype(np.uint8)
    return values


def _check_brevitas(
    network: AdaptiveTransformNet, integers: IntegerNetwork, photos: Sequence[np.ndarray], margin: int
) -> None:
    """Raise EngineError unless Brevitas and the reference paint three photos alike, each in its own light."""
    for photo in photos[:3]:
        wanted = paint(integers, photo, Window(margin, margin, photo.shape[0] - margin, photo.shape[1] - margin))
        found = brevitas_painting(network, photo, margin)[margin:-margin, margin:-margin]
        if wrong := int(np.count_nonzero(wanted != found)):
            raise EngineError(f"Brevitas and the integer network differ in {wrong} of {wanted.size} values")


def _check_lights(network: IntegerNetwork, photos: Sequence[np.ndarray], margin: int) -> None:
    """Raise EngineError unless three photos, each in its own light, are painted as the reference paints them.

    By the engine, which must meter the reference's light too, and by the QONNX file, which is given the light.
    """
    runner = exact_runner(network)
    for photo in photos[:3]:
        piece = np.ascontiguousarray(photo[: 2 * margin + 64, : 2 * margin + 64])
        frame = Window(margin, margin, margin + 64, margin + 64)
        light = measure(network, piece, frame)
        if not network.wide and EngineMeter(network, runner.engine).measure(piece, frame) != light:
            raise EngineError("the engine meters another light than the reference")
        lit = in_light(network, light)
        if wrong := differing(lit, EngineRunner(lit, runner.engine), piece):
            raise EngineError(f"in a frame's own light the engine paints {wrong} of {piece.size} values differently")
        # ONNX Runtime has no convolution for the file's doubles.
        if not network.wide and (wrong := differing(lit, partial(_qonnx_painting, network, light), piece)):
            raise EngineError(
                f"in a frame's own light the QONNX file paints {wrong} of {piece.size} values differently"
            )
