"""Networks as files: NumPy archives (``*.npz``), written the same each time and read without trust.

An archive holds ``header``, UTF-8 JSON as uint8, and the arrays ``N.PART`` of convolution number N, counted in
order of execution from 0. The header is ``{"format", "version", ..., "layers": [...]}``; each layer is an object
with its ``kind``. What else the layers say, and which parts a convolution has, is the matter of a file form:
integer.py and floating.py.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from pleinair.errors import ModelError
from pleinair.network.chain import MAX_CONVOLUTIONS, Chain, ChainLayer

#: Greatest file, packed and unpacked; far above any network worth painting with.
MAX_FILE_BYTES = 64 << 20
#: Most arrays of a file: three parts for each convolution, and the header.
_MAX_ARRAYS = 9 * MAX_CONVOLUTIONS + 1

LayerT = TypeVar("LayerT", bound=ChainLayer)


def write_arrays(arrays: Mapping[str, np.ndarray], *, zip64: bool = False) -> bytes:
    """An npz of ``arrays`` in their order; equal arrays give equal bytes (each member bears the date 1980-01-01).

    ``zip64`` writes the long form of sizes, as :func:`numpy.savez_compressed` does.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=zip64) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
    return out.getvalue()


def read_arrays(data: bytes, name: str, kinds: str = "iu") -> dict[str, np.ndarray]:
    """The arrays of an npz by name, without pickles; ``kinds`` are NumPy's letters of the types that may be there.

    Every size is checked against what is there before memory is taken. Raises ModelError that calls it ``name``.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_ARRAYS:
                raise ModelError(f"network {name}: {len(members)} arrays, allowed are {_MAX_ARRAYS}")
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


def write_chain(header: Mapping[str, Any], network: Chain[Any, Any], *, zip64: bool = False) -> bytes:
    """The file of ``network``: ``header`` with its layers added, then the arrays of each convolution."""
    text = json.dumps({**header, "layers": [layer.header() for layer in network.layers]})
    arrays = {"header": np.frombuffer(text.encode(), np.uint8)}
    for number, convolution in enumerate(network.convolutions()):
        arrays.update({f"{number}.{part}": array for part, array in convolution.arrays().items()})
    return write_arrays(arrays, zip64=zip64)


class Arrays:
    """The arrays of an archive, handed out in order of execution."""

    def __init__(self, arrays: dict[str, np.ndarray], name: str) -> None:
        self._left, self._number, self.name = arrays, 0, name

    def next(self, *parts: str) -> list[np.ndarray]:
        """These parts of the next convolution. Raises KeyError where one is missing."""
        arrays = [self._left.pop(f"{self._number}.{part}") for part in parts]
        self._number += 1
        return arrays

    def refuse(self, what: str) -> ModelError:
        """An error about the convolution that was read last."""
        return ModelError(f"network {self.name}: convolution {self._number - 1}: {what}")


#: Makes a layer of its entry in the header, and takes the arrays that belong to it.
LayerReader = Callable[[Mapping[str, Any], Arrays], LayerT]


def layer_name(entry: Mapping[str, Any], name: str) -> str:
    """The name of a layer of the header, fit to be printed. Raises ModelError that calls the network ``name``."""
    title = entry["name"]
    if not isinstance(title, str) or not 0 < len(title) <= 64 or not title.isprintable():
        raise ModelError(f"network {name}: a layer has no proper name")
    return title


def read_chain(
    data: bytes,
    name: str,
    *,
    form: str,
    kinds: str,
    readers: Mapping[str, LayerReader[LayerT]],
    versions: tuple[int, ...] = (1,),
) -> tuple[dict[str, Any], tuple[LayerT, ...]]:
    """The header and the layers of a network file, not yet validated.

    ``form`` is the value that the header's ``format`` must have and ``kinds`` the array types, as in
    :func:`read_arrays`; ``versions`` are those that are read. ``readers`` has one for each kind of layer that the
    form may hold. Raises ModelError that calls the network ``name``.
    """
    arrays = read_arrays(data, name, kinds)
    try:
        header = json.loads(arrays.pop("header").tobytes().decode())
        if header.get("format") != form or header.get("version") not in versions:
            raise ModelError(
                f"network {name}: format {header.get('format')!r} version {header.get('version')!r}, "
                f"this program reads {form!r} version {' and '.join(map(str, versions))}"
            )
        if len(header["layers"]) > 2 * MAX_CONVOLUTIONS:
            raise ModelError(f"network {name}: {len(header['layers'])} layers")
        given, layers = Arrays(arrays, name), []
        for entry in header["layers"]:
            if entry["kind"] not in readers:
                raise ModelError(f"network {name}: layer of unknown kind {entry['kind']!r}")
            layers.append(readers[entry["kind"]](entry, given))
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ModelError(f"network {name}: damaged header ({type(error).__name__}: {error})") from error
    if arrays:
        raise ModelError(f"network {name}: holds arrays that no layer uses: {', '.join(sorted(arrays))}")
    return header, tuple(layers)
