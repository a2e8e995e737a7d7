"""The integer network: the contract that every machine computes the same pixels.

Input and output are uint8 RGB. Every convolution holds signed narrow-range integer weights, an integer bias
at accumulator scale and a right shift per output channel; its result is requantised by

    clamp(round_half_even((sum(w * x) + bias) / 2**shift), low, high)

to an unsigned ``bits``-bit activation, or to a signed one where a residual block adds it to its input, which
is then clamped to 0 .. 2**bits - 1. Upsampling repeats pixels. There are no scales: all were powers of two
and live on as shifts.

File form (``*.npz``, read with NumPy alone): ``header`` is UTF-8 JSON as uint8, ``N.weight`` [O, I, k, k],
``N.bias`` [O] and ``N.shift`` [O] belong to convolution number N in order of execution. Header:
``{"format": "pleinair-integer-network", "version": 1, "bits": 8, "layers": [...]}`` where a layer is
``{"kind": "convolution", "name", "stride", "weight_bits", "out_bits"}``, ``{"kind": "upsample"}`` or
``{"kind": "residual", "body": [convolution, ...]}``.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.errors import ContractError, ModelError

FORMAT = "pleinair-integer-network"
BITS = (4, 8, 16)
#: Bounds on a network file, far above any network worth painting with.
MAX_FILE_BYTES = 64 << 20
MAX_CONVOLUTIONS = 128
MAX_CHANNELS = 1024
MAX_KERNEL = 15


@dataclass(frozen=True)
class Convolution:
    """One convolution with its requantisation.

    ``weight``: int16 or int8 [O, I, k, k]; ``bias``: int64 [O]; ``shift``: int64 [O], all >= 0. Zero padding
    of k // 2. ``signed`` is true for the last convolution of a residual block: its output is -2**(b-1) ..
    2**(b-1) - 1 for b = ``out_bits``, all others' 0 .. 2**b - 1.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    stride: int
    weight_bits: int
    out_bits: int
    signed: bool = False

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        """Input channels."""
        return int(self.weight.shape[1])

    @property
    def kernel(self) -> int:
        """Side of the square kernel."""
        return int(self.weight.shape[2])

    @property
    def low(self) -> int:
        """Least output value."""
        return -(1 << (self.out_bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Greatest output value."""
        return (1 << (self.out_bits - 1)) - 1 if self.signed else (1 << self.out_bits) - 1

    def accumulator_bound(self, input_high: int) -> np.ndarray:
        """Greatest magnitude, int64 [O], of any partial sum for inputs 0 .. ``input_high``: sum|w| x + |b|.

        Includes the half that rounding adds. Holds for every order of summation.
        """
        magnitude = np.abs(self.weight.astype(np.int64)).sum((1, 2, 3)) * input_high
        half = np.where(self.shift > 0, np.int64(1) << np.maximum(self.shift - 1, 0), 0)
        bound: np.ndarray = magnitude + np.abs(self.bias) + half
        return bound


@dataclass(frozen=True)
class Upsample:
    """Nearest neighbour, x2 in height and width."""


@dataclass(frozen=True)
class Residual:
    """``clamp(x + body(x), 0, 2**bits - 1)``; the body's last convolution is signed, all have stride 1."""

    body: tuple[Convolution, ...]


Layer = Convolution | Upsample | Residual


@dataclass(frozen=True)
class IntegerNetwork:
    """A chain of layers from uint8 RGB to uint8 RGB; construct it through :func:`validate` or :func:`load`."""

    bits: int
    layers: tuple[Layer, ...]

    def convolutions(self) -> Iterator[Convolution]:
        """All convolutions in order of execution."""
        for layer in self.layers:
            if isinstance(layer, Convolution):
                yield layer
            elif isinstance(layer, Residual):
                yield from layer.body

    @property
    def wide(self) -> bool:
        """Whether int8 operators cannot hold it: there are more than 8 bits somewhere."""
        return self.bits > 8 or any(c.weight_bits > 8 for c in self.convolutions())

    @property
    def stride(self) -> int:
        """Height and width of a frame must be multiples of this."""
        scale = deepest = 1
        for layer in self.layers:
            if isinstance(layer, Convolution):
                scale *= layer.stride
            elif isinstance(layer, Upsample):
                scale //= 2
            deepest = max(deepest, scale)
        return deepest

    @property
    def halo(self) -> int:
        """Least number of pixels beyond which no input reaches an output pixel: the receptive field's radius.

        Walks the layers backwards with the interval of pixels that an aligned block of ``stride`` output
        pixels needs; the worse side counts.
        """
        low, high = 0, self.stride - 1
        for layer in reversed(self.layers):
            if isinstance(layer, Upsample):
                low, high = low // 2, high // 2
                continue
            body = layer.body if isinstance(layer, Residual) else (layer,)
            for convolution in reversed(body):
                reach = convolution.kernel // 2
                low, high = low * convolution.stride - reach, high * convolution.stride + reach
        return max(-low, high - (self.stride - 1))

    def macs_per_pixel(self) -> float:
        """Multiply-accumulates per output pixel."""
        area, total = 1.0, 0.0
        for layer in self.layers:
            if isinstance(layer, Upsample):
                area *= 4
                continue
            for convolution in layer.body if isinstance(layer, Residual) else (layer,):
                area /= convolution.stride**2
                total += area * convolution.weight.size
        return total


def _check_convolution(c: Convolution, inputs: int, input_high: int, bits: int) -> None:
    def refuse(what: str) -> ContractError:
        return ContractError(f"layer {c.name}: {what}")

    if c.weight.ndim != 4 or c.weight.shape[2] != c.weight.shape[3]:
        raise refuse(f"weights of shape {c.weight.shape}, need [outputs, inputs, k, k]")
    if c.kernel % 2 == 0 or not 1 <= c.kernel <= MAX_KERNEL:
        raise refuse(f"kernel {c.kernel}, need an odd number up to {MAX_KERNEL}")
    if not 1 <= c.outputs <= MAX_CHANNELS:
        raise refuse(f"{c.outputs} output channels, allowed are 1 to {MAX_CHANNELS}")
    if c.inputs != inputs:
        raise refuse(f"{c.inputs} input channels, but {inputs} arrive")
    if c.stride not in (1, 2):
        raise refuse(f"stride {c.stride}, allowed are 1 and 2")
    if c.weight_bits not in BITS:
        raise refuse(f"{c.weight_bits}-bit weights, allowed are {BITS}")
    for name, array in (("weights", c.weight), ("bias", c.bias), ("shift", c.shift)):
        if array.dtype.kind != "i":
            raise refuse(f"{name} of type {array.dtype}, need signed integers")
    for name, array in (("bias", c.bias), ("shift", c.shift)):
        if array.shape != (c.outputs,):
            raise refuse(f"{name} of shape {array.shape}, need ({c.outputs},)")
    greatest = (1 << (c.weight_bits - 1)) - 1
    if c.weight.size and (int(c.weight.max()) > greatest or int(c.weight.min()) < -greatest):
        worst = int(c.weight.max()) if int(c.weight.max()) > greatest else int(c.weight.min())
        raise refuse(f"weight {worst} outside +-{greatest}, the narrow range of {c.weight_bits} bits")
    wide = max(bits, c.weight_bits) > 8
    longest = 47 if wide else 31
    if int(c.shift.min()) < 0 or int(c.shift.max()) > longest:
        worst = int(c.shift.min()) if int(c.shift.min()) < 0 else int(c.shift.max())
        raise refuse(f"shift {worst}, allowed are 0 to {longest}")
    limit = 1 << (47 if wide else 24)
    # The bias alone first: a hostile one could overflow the sum below.
    if bool(((c.bias > limit) | (c.bias < -limit)).any()):
        raise refuse(f"a bias outside +-2^{limit.bit_length() - 1}")
    # A shift beyond 2 * limit rounds everything to zero; it must not overflow the bound either.
    worst = int(c.accumulator_bound(input_high).max())
    if worst > limit:
        raise refuse(
            f"an accumulator can reach {worst} (2^{math.log2(worst):.2f}), allowed is 2^{limit.bit_length() - 1}"
        )


def validate(network: IntegerNetwork) -> IntegerNetwork:
    """Return ``network`` if it keeps the contract; else raise ContractError naming the layer and the number.

    For 8 bits and below it proves that no accumulator can leave +-2**24, so that a float32 engine is exact
    too; for 16 bits +-2**47, so that int64, float64 and a 48-bit DSP are.
    """
    bits = network.bits
    if bits not in BITS:
        raise ContractError(f"network of {bits} bits, allowed are {BITS}")
    convolutions = list(network.convolutions())
    if not convolutions or len(convolutions) > MAX_CONVOLUTIONS:
        raise ContractError(f"network of {len(convolutions)} convolutions, allowed are 1 to {MAX_CONVOLUTIONS}")
    names = [c.name for c in convolutions]
    if len(set(names)) != len(names):
        raise ContractError("two layers have the same name")
    for end in (convolutions[0], convolutions[-1]):
        if end.weight_bits < 8:
            raise ContractError(f"layer {end.name}: {end.weight_bits}-bit weights, first and last need at least 8")
    channels, high, halvings = 3, 255, 0
    for layer in network.layers:
        if isinstance(layer, Upsample):
            halvings -= 1
            if halvings < 0:
                raise ContractError("an upsampling beyond the input's resolution")
            continue
        if isinstance(layer, Residual):
            if not layer.body:
                raise ContractError("a residual block without convolutions")
            inner_channels, inner_high = channels, high
            for c in layer.body:
                _check_convolution(c, inner_channels, inner_high, bits)
                last = c is layer.body[-1]
                if c.stride != 1:
                    raise ContractError(f"layer {c.name}: stride {c.stride} inside a residual block")
                if c.signed != last:
                    raise ContractError(f"layer {c.name}: signed output is for the last of a residual block")
                if c.out_bits != bits:
                    raise ContractError(f"layer {c.name}: {c.out_bits}-bit output in a {bits}-bit network")
                inner_channels, inner_high = c.outputs, c.high
            if inner_channels != channels:
                raise ContractError(f"layer {layer.body[-1].name}: {inner_channels} channels added to {channels}")
            if high != (1 << bits) - 1:
                raise ContractError(f"layer {layer.body[0].name}: a residual block on the pixels themselves")
            continue
        _check_convolution(layer, channels, high, bits)
        if layer.signed:
            raise ContractError(f"layer {layer.name}: signed output outside a residual block")
        wanted = 8 if layer is network.layers[-1] else bits
        if layer.out_bits != wanted:
            raise ContractError(f"layer {layer.name}: {layer.out_bits}-bit output, need {wanted}")
        halvings += layer.stride == 2
        channels, high = layer.outputs, layer.high
    if not isinstance(network.layers[-1], Convolution) or channels != 3:
        raise ContractError(f"the last layer gives {channels} channels, need a convolution to 3")
    if halvings != 0:
        raise ContractError(f"the output is 1/{1 << halvings} of the input's size, need 1")
    return network


# -- the file


def _layer_header(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Upsample):
        return {"kind": "upsample"}
    if isinstance(layer, Residual):
        return {"kind": "residual", "body": [_layer_header(c) for c in layer.body]}
    return {
        "kind": "convolution",
        "name": layer.name,
        "stride": layer.stride,
        "weight_bits": layer.weight_bits,
        "out_bits": layer.out_bits,
    }


def dump(network: IntegerNetwork) -> bytes:
    """The file form; the same network always gives the same bytes."""
    header = {
        "format": FORMAT,
        "version": 1,
        "bits": network.bits,
        "layers": [_layer_header(layer) for layer in network.layers],
    }
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for i, c in enumerate(network.convolutions()):
        arrays[f"{i}.weight"] = c.weight.astype("<i2" if c.weight_bits > 8 else "i1")
        arrays[f"{i}.bias"] = c.bias.astype("<i8")
        arrays[f"{i}.shift"] = c.shift.astype("i1")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return out.getvalue()


def read_arrays(data: bytes, name: str, kinds: str = "iu") -> dict[str, np.ndarray]:
    """The arrays of an npz by name, without pickles; ``kinds`` are NumPy's letters of the types that may be there.

    Every size is checked against what is there before memory is taken. Raises ModelError that calls it ``name``.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > 3 * MAX_CONVOLUTIONS + 1:
                raise ModelError(f"network {name}: {len(members)} arrays, allowed are {3 * MAX_CONVOLUTIONS + 1}")
            if sum(m.file_size for m in members) > MAX_FILE_BYTES:
                raise ModelError(f"network {name}: unpacks to more than {MAX_FILE_BYTES >> 20} MiB")
            for member in members:
                raw = archive.read(member)
                stream = io.BytesIO(raw)
                if np.lib.format.read_magic(stream) != (1, 0):
                    raise ModelError(f"network {name}: {member.filename} is not a version 1.0 array")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
                body = raw[stream.tell() :]
                count = math.prod(shape)
                if dtype.kind not in kinds or fortran or min(shape, default=0) < 0:
                    raise ModelError(f"network {name}: {member.filename} is not a plain array of its kind")
                if count * dtype.itemsize != len(body):
                    raise ModelError(f"network {name}: {member.filename} does not hold what its header says")
                arrays[member.filename.removesuffix(".npy")] = np.frombuffer(body, dtype).reshape(shape)
    except ModelError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise a dozen kinds for damage
        raise ModelError(f"network {name}: damaged or not a network file ({type(error).__name__})") from error
    return arrays


def parse(data: bytes, name: str) -> IntegerNetwork:
    """Read the file form and validate it. Raises ModelError (ContractError) that calls it ``name``."""
    arrays = read_arrays(data, name)
    used = {"header"}
    number = 0

    def convolution(entry: dict[str, Any], signed: bool) -> Convolution:
        nonlocal number
        keys = [f"{number}.{part}" for part in ("weight", "bias", "shift")]
        used.update(keys)
        number += 1
        weight, bias, shift = (arrays[key] for key in keys)
        if weight.dtype not in (np.int8, np.dtype("<i2")):
            raise ModelError(f"network {name}: {keys[0]} is {weight.dtype}, need int8 or int16")
        title = entry["name"]
        if not isinstance(title, str) or not 0 < len(title) <= 64 or not title.isprintable():
            raise ModelError(f"network {name}: a layer has no proper name")
        return Convolution(
            title, weight.astype(weight.dtype.newbyteorder("=")),
            bias.astype(np.int64), shift.astype(np.int64), int(entry["stride"]),
            int(entry["weight_bits"]), int(entry["out_bits"]), signed,
        )  # fmt: skip

    try:
        header = json.loads(arrays["header"].tobytes().decode())
        if header.get("format") != FORMAT or header.get("version") != 1:
            raise ModelError(
                f"network {name}: format {header.get('format')!r} version {header.get('version')!r}, "
                f"this program reads {FORMAT!r} version 1"
            )
        if len(header["layers"]) > 2 * MAX_CONVOLUTIONS:
            raise ModelError(f"network {name}: {len(header['layers'])} layers")
        layers: list[Layer] = []
        for entry in header["layers"]:
            if entry["kind"] == "upsample":
                layers.append(Upsample())
            elif entry["kind"] == "convolution":
                layers.append(convolution(entry, False))
            elif entry["kind"] == "residual":
                body = entry["body"]
                layers.append(Residual(tuple(convolution(e, e is body[-1]) for e in body)))
            else:
                raise ModelError(f"network {name}: layer of unknown kind {entry['kind']!r}")
        bits = int(header["bits"])
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ModelError(f"network {name}: damaged header ({type(error).__name__}: {error})") from error
    if set(arrays) != used:
        raise ModelError(f"network {name}: holds arrays that no layer uses: {', '.join(sorted(set(arrays) - used))}")
    return validate(IntegerNetwork(bits, tuple(layers)))


def load(path: Path) -> IntegerNetwork:
    """Read and validate a network file. Raises ModelError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"network {path}: larger than {MAX_FILE_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"network {path}: {error.strerror}") from error
    return parse(data, str(path))
