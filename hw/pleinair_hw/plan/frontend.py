"""From a model folder or a QONNX file to the integer network that hardware is compiled from.

Everything in a graph that cannot be hardware is found before anything is compiled and told in one message, each with
the reason and the remedy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.errors import ModelError, OptionError
from pleinair.models import FILES, find_style, load_model, read_card, read_file
from pleinair.network.integer import MAX_FILE_BYTES, IntegerNetwork, dump
from pleinair.network.qonnx import read_qonnx

#: Why an operator has no hardware form, and what to do instead.
_REMEDIES = {
    "InstanceNormalization": "needs the statistics of the whole frame before its first pixel: fold the average "
    "statistics into weights and biases and train on, as `pleinair train` does",
    "BatchNormalization": "is not folded: fold it into the weights before them",
    "GroupNormalization": "needs the statistics of the whole frame: fold average statistics into weights and biases",
    "ConvTranspose": "has no streaming form here and paints checkerboards: use nearest x2 upsampling and a convolution",
    "Pad": "pads otherwise than with a convolution's own zeros: the host reflects the frame's border instead",
    "Tanh": "is a float function: let the last convolution end in an 8-bit quantiser",
    "Sigmoid": "is a float function: let the last convolution end in an 8-bit quantiser",
    "Upsample": "is the retired form of Resize: export with opset 13 or later",
}
#: They pass quantised values on.
_MOVING = {"Resize", "Cast", "SpaceToDepth", "DepthToSpace"}
#: They may stand between a convolution or a sum and the quantiser behind it.
_BETWEEN = {"Relu", "Add", "Mul", "Div"}
_KNOWN = {"Quant", "Conv"} | _MOVING | _BETWEEN
_NUMBERS = {"Add": "sum", "Mul": "product", "Div": "quotient"}
_MOST_NAMED = 12


@dataclass(frozen=True)
class Source:
    """What is built: the network, and for a model folder its card's style, margin and grain."""

    network: IntegerNetwork
    title: str
    margin: int
    grain: int
    folder: Path | None


def unfit_nodes(graph: Any) -> list[str]:
    """A line for every node of an ONNX graph that cannot be hardware: its name, the reason, the remedy."""
    quantised: set[str] = set()
    for node in graph.node:
        if node.op_type == "Quant" or (node.op_type in _MOVING and quantised.issuperset(node.input[:1])):
            quantised.update(node.output)
    # From the last node to the first: the tensors that nothing takes as they are, only through a quantiser.
    taken: dict[str, bool] = {}

    def requantised(node: Any) -> bool:
        return all(taken.get(name, False) for name in node.output)

    for node in reversed(graph.node):
        kept = node.op_type in _BETWEEN and requantised(node)
        for name in node.input:
            taken[name] = taken.get(name, True) and (node.op_type == "Quant" or kept)

    lines = []
    for node in graph.node:
        name, kind = node.name or node.op_type, node.op_type
        if kind in _REMEDIES:
            lines.append(f"{name}: {kind} {_REMEDIES[kind]}")
        elif kind not in _KNOWN:
            lines.append(f"{name}: {kind} has no hardware form: allowed are {', '.join(sorted(_KNOWN))}")
        elif kind == "Conv":
            if len(node.input) < 2 or node.input[1] not in quantised:
                lines.append(f"{name}: a convolution of float weights: train it quantised, as `pleinair train` does")
            elif node.input[0] not in quantised:
                lines.append(f"{name}: a convolution of float activations: put a quantiser before it")
            elif not requantised(node):
                lines.append(f"{name}: its sums are not quantised: put a quantiser behind it")
        elif kind in ("Add", "Mul", "Div") and not requantised(node):
            lines.append(f"{name}: a {_NUMBERS[kind]} that is not quantised: put a quantiser behind it")
    return lines


def read_graph(data: bytes, name: str) -> IntegerNetwork:
    """The integer network in QONNX bytes. Raises ModelError that names everything which cannot be hardware."""
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"network {name}: larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        graph = onnx.load_model_from_string(data).graph
    except (DecodeError, ValueError) as error:
        raise ModelError(f"network {name}: damaged or not ONNX") from error
    unfit = unfit_nodes(graph)
    if unfit:
        more = [f"and {len(unfit) - _MOST_NAMED} more"] if len(unfit) > _MOST_NAMED else []
        raise ModelError(f"network {name} cannot be hardware: " + "; ".join([*unfit[:_MOST_NAMED], *more]))
    return read_qonnx(data, name)


def read_source(model: str, bits: int | None, margin: int | None) -> Source:
    """A model folder's (or style's) network of ``bits``, from its QONNX file, or that of a QONNX file elsewhere.

    ``margin``: pixels around the frame, for files without a card; a folder's card has it. Raises ModelError and
    OptionError.
    """
    path = Path(model)
    if os.path.isfile(path):  # False, too, for what cannot be the name of a file
        if margin is None:
            raise OptionError(
                f"is needed for {path.name}, which has no card; at least the network's halo", option="margin"
            )
        network = read_graph(path.read_bytes(), path.name)
        if bits is not None and bits != network.bits:
            raise OptionError(f"{bits}: {path.name} is a network of {network.bits} bits", option="bits")
        if margin < network.halo:
            raise OptionError(f"{margin}: below the network's halo of {network.halo} pixels", option="margin")
        return Source(network, path.stem, margin, 0, None)
    folder = find_style(model)
    if bits is None:
        raise OptionError("are needed for a model folder; 4, 8 or 16", option="bits")
    card = read_card(folder)
    name = FILES["qonnx"].format(bits=bits)
    loaded = load_model(str(folder), bits)
    if not isinstance(loaded.network, IntegerNetwork):
        raise OptionError(f"{bits}: a float network cannot be hardware; 4, 8 or 16", option="bits")
    network = read_graph(read_file(folder, card, bits, "qonnx"), name)
    if dump(network) != dump(loaded.network):
        raise ModelError(f"{folder}: {name} holds another network than {FILES['network'].format(bits=bits)}")
    if margin is not None and margin != loaded.margin:
        raise OptionError(f"{margin}: the card of {folder.name} says {loaded.margin}", option="margin")
    return Source(network, loaded.style, loaded.margin, loaded.grain, folder)
