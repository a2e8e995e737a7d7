"""A finished run to a model folder: QONNX, integer network, CPU model, card; each checked against the others.

The Brevitas network is exported by Brevitas's own exporter and cleaned up by qonnx; the integer network is
read from that file, not from the network in memory, and the CPU model is built from the integer network.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from host.errors import EngineError, OutputError, TrainingError
from host.images import write_bytes
from host.models import CARD, CARD_FORMAT, FILES
from host.network import BITS, IntegerNetwork, dump
from host.onnx_graph import build_onnx
from host.painters import check_image, differing, exact_runner
from host.qonnx import read_qonnx
from host.tiles import round_up
from training.quantized_net import QuantizedTransformNet
from training.trainer import load_quantised, run_record

_TRACE_SIDE = 64


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
    return data


@torch.no_grad()
def brevitas_painting(network: QuantizedTransformNet, image: np.ndarray) -> np.ndarray:
    """The Brevitas network in evaluation on uint8 [H, W, 3]; float64 at 16 bits, where float32 is not enough."""
    network.eval()
    kind = torch.float64 if network.bits > 8 else torch.float32
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(kind) / 256
    y = network.to(kind)(x)[0] * 256
    network.float()
    painted: np.ndarray = y.permute(1, 2, 0).round().to(torch.uint8).numpy()
    return painted


def _check_equal(network: QuantizedTransformNet, integers: IntegerNetwork) -> None:
    """Raise EngineError unless Brevitas, the reference and, up to 8 bits, the CPU model agree on a test picture."""
    image = check_image()
    if wrong := differing(integers, lambda picture: brevitas_painting(network, picture), image):
        raise EngineError(f"Brevitas and the integer network differ in {wrong} of {image.size} values")
    if integers.bits <= 8:
        exact_runner(integers)


def export_run(
    run: Path, out: Path, painting: str, painting_licence: str, licence: str, margin: int | None, grain: int
) -> list[str]:
    """Write every quantised network of ``run`` to the model folder ``out``; lines that say what was written.

    ``margin`` None takes the halo, rounded up to the stride: the least at which edges measure like the interior.

    Raises TrainingError when the run has none, ContractError when one breaks the contract, OutputError.
    """
    record = run_record(run)
    settings = record["settings"]
    if not out.parent.is_dir():
        raise OutputError(f"--out {out}: the folder {out.parent} does not exist")
    files: dict[str, bytes] = {}
    networks: dict[str, Any] = {}
    lines = []
    least = 0
    for bits in BITS:
        path = run / f"{bits}bit.pt"
        if not path.exists():
            continue
        network, state = load_quantised(path, bits)
        qonnx = export_qonnx_bytes(network)
        integers = read_qonnx(qonnx, f"{path} as QONNX")
        cpu = build_onnx(integers) if bits <= 8 else None
        _check_equal(network, integers)
        written = {"network": dump(integers), "qonnx": qonnx, **({"cpu": cpu} if cpu else {})}
        for role, data in written.items():
            files[FILES[role].format(bits=bits)] = data
        networks[str(bits)] = {
            "sha256": {role: hashlib.sha256(data).hexdigest() for role, data in written.items()},
            "training_losses": state["losses"],
            "steps": state["steps"],
            "macs_per_pixel": integers.macs_per_pixel(),
            "halo": integers.halo,
        }
        size, work = len(written["network"]), integers.macs_per_pixel()
        least = max(least, round_up(integers.halo, integers.stride))
        lines.append(f"{out}: {bits} bits, {size:,} bytes, {work:,.0f} MAC a pixel")
    if not files:
        raise TrainingError(f"run {run}: holds no quantised network yet; pleinair train --bits 8 --out {run}")
    kind, _, weights = settings["loss_network"].partition(":")
    private = {"style", "content", "loss_network"}
    card = {
        "format": CARD_FORMAT,
        "version": 1,
        "style": out.name,
        "painting": {
            "title": painting, "licence": painting_licence, "file": Path(settings["style"]).name,
            "sha256": record["painting_sha256"],
        },
        "licence": licence,
        "margin": least if margin is None else margin,
        "grain": grain,
        "architecture": {"width": settings["width"], "blocks": settings["blocks"], "kernel": settings["kernel"]},
        "training": {
            **{k: v for k, v in settings.items() if k not in private},
            "loss_network": kind, "loss_network_file": Path(weights).name,
            "loss_network_sha256": record["loss_network_sha256"],
            "photos": record["photos"], "held_out": record["held_out"],
        },
        "networks": networks,
    }  # fmt: skip
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {out}: {error.strerror}") from error
    for name, data in files.items():
        write_bytes(out / name, data)
    write_bytes(out / CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    return lines
