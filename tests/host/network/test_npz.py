"""Archives of networks: the bytes that NumPy itself would write, the bounds, and what hostile ones are told.

The hostile files of each format are in test_integer.py and test_floating.py.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest

from pleinair.errors import ModelError
from pleinair.network.chain import Upsample
from pleinair.network.npz import Arrays, read_arrays, read_chain, write_arrays, write_chain

ARRAYS = {
    "header": np.frombuffer(b"{}", np.uint8),
    "0.weight": np.arange(-300, 300, dtype="<i2").reshape(2, 3, 10, 10),
    "0.bias": np.array([1 << 40, -1], "<i8"),
    "large": np.random.default_rng(0).integers(-128, 128, 1 << 20, np.int8),
}


def test_the_long_form_is_numpys_own_file():
    out = io.BytesIO()
    np.savez_compressed(out, **ARRAYS)
    assert write_arrays(ARRAYS, zip64=True) == out.getvalue()


@pytest.mark.parametrize("zip64", [False, True])
def test_numpy_reads_what_was_written_and_we_do(zip64):
    data = write_arrays(ARRAYS, zip64=zip64)
    assert data == write_arrays(ARRAYS, zip64=zip64)
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        ours = read_arrays(data, "given")
        assert list(archive) == list(ours) == list(ARRAYS)
        for name in archive:
            np.testing.assert_array_equal(archive[name], ours[name])
            assert archive[name].dtype == ours[name].dtype == ARRAYS[name].dtype


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": np.zeros(3)}, r"x\.npy is not a plain array of its kind"),
        ({"x": np.zeros(3, complex)}, r"not a plain array"),
        ({"x": np.asfortranarray(np.zeros((2, 3), np.int8))}, r"not a plain array"),
        ({str(i): np.zeros(1, np.int8) for i in range(1154)}, r"1154 arrays, allowed are 1153"),
        ({"x": np.zeros((64 << 20) + 1, np.int8)}, r"more than 64 MiB"),
    ],
)
def test_bounds(arrays, says):
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    with pytest.raises(ModelError, match=says):
        read_arrays(out.getvalue(), "given")


def test_a_bound_is_allowed_itself():
    assert len(read_arrays(write_arrays({str(i): np.zeros(1, np.int8) for i in range(1153)}), "given")) == 1153


def test_a_version_2_array_is_refused():
    member, out = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(member, np.zeros(3, np.int8), (2, 0))
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x.npy", member.getvalue())
    with pytest.raises(ModelError, match=r"x\.npy is not a version 1\.0 array"):
        read_arrays(out.getvalue(), "given")


def upsample(entry: Mapping[str, object], arrays: Arrays) -> Upsample:
    return Upsample()


def hold(entry: Mapping[str, object], arrays: Arrays) -> Upsample:
    (array,) = arrays.next("weight")
    if array.dtype != np.int8:
        raise arrays.refuse(f"of type {array.dtype}")
    return Upsample()


READERS = {"upsample": upsample, "hold": hold}


def chain(layers: object, **arrays: np.ndarray) -> bytes:
    header = json.dumps({"format": "some", "version": 1, "layers": layers}).encode()
    return write_arrays({"header": np.frombuffer(header, np.uint8), **arrays})


def read(data: bytes, form: str = "some") -> tuple[Upsample, ...]:
    return read_chain(data, "given", form=form, kinds="iu", readers=READERS)[1]


def test_layers_take_their_arrays_in_order():
    weights = {"0.weight": np.zeros(1, np.int8), "1.weight": np.zeros(2, np.int8)}
    data = chain([{"kind": "hold"}, {"kind": "upsample"}, {"kind": "hold"}], **weights)
    assert read(data) == (Upsample(),) * 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (chain([{"kind": "loop"}]), r"unknown kind 'loop'"),
        (chain([{"kind": ["upsample"]}]), r"damaged header \(TypeError"),
        (chain([{}]), r"damaged header \(KeyError"),
        (chain([{"kind": "hold"}]), r"damaged header \(KeyError: '0\.weight'"),
        (chain([{"kind": "hold"}], **{"0.weight": np.zeros(1, np.int16)}), r"convolution 0: of type int16"),
        (chain([], **{"0.weight": np.zeros(1, np.int8)}), r"arrays that no layer uses: 0\.weight"),
        (chain([{"kind": "upsample"}] * 257), r"257 layers"),
        (write_arrays({}), r"damaged header \(KeyError: 'header'"),
    ],
)
def test_a_chain_that_is_not_one_is_refused(data, says):
    with pytest.raises(ModelError, match=rf"^network given: .*{says}"):
        read(data)


def test_another_format_is_named():
    with pytest.raises(ModelError, match="format 'some' version 1, this program reads 'other' version 1"):
        read(chain([]), "other")


def test_the_header_goes_before_the_layers():
    class Two:
        layers = (Upsample(), Upsample())

        def convolutions(self):
            return iter(())

    data = write_chain({"format": "some", "version": 1}, Two())
    assert bytes(read_arrays(data, "given")["header"]) == (
        b'{"format": "some", "version": 1, "layers": [{"kind": "upsample"}, {"kind": "upsample"}]}'
    )
