"""Tests of pleinair.scenery.exact, and that the whole room keeps to exact arithmetic."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from pleinair.scenery.day import SyntheticDay
from pleinair.scenery.exact import blend, clip01, clip11, cos, ramp, ramps, rgb, sin, triangles
from tests.house import ROOT

ROOM = ROOT / "host" / "pleinair" / "scenery"
#: The room's modules, from the ground up.
MODULES = ["exact", "noise", "light", "layers", "clouds", "sky", "land", "lamps", "village", "lake", "bank", "day"]


@pytest.mark.parametrize("turns", [0.0, 0.1, 0.25, 0.3, 0.5, 0.74, 0.75, 1.0, -0.2, 17.77, -123.456, 1e6 + 0.125])
def test_sine_and_cosine_are_those_of_the_c_library_to_one_in_a_hundred_million(turns: float) -> None:
    assert sin(turns) == pytest.approx(math.sin(2 * math.pi * math.fmod(turns, 1)), abs=1e-8)
    assert cos(turns) == pytest.approx(math.cos(2 * math.pi * math.fmod(turns, 1)), abs=1e-8)


def test_ramp_is_smoothstep_up_or_down() -> None:
    assert [ramp(x, 1.0, 3.0) for x in (0.0, 1.0, 1.5, 2.0, 3.0, 9.0)] == [0.0, 0.0, 0.15625, 0.5, 1.0, 1.0]
    assert [ramp(x, 3.0, 1.0) for x in (0.0, 1.0, 1.5, 2.0, 3.0, 9.0)] == [1.0, 1.0, 0.84375, 0.5, 0.0, 0.0]
    x = np.linspace(-1.0, 5.0, 61)
    for a, b in ((1.0, 3.0), (3.0, 1.0), (0.2, 0.3)):
        np.testing.assert_allclose(ramps(x, a, b), [ramp(float(v), a, b) for v in x], atol=1e-15)


def test_limits_and_waves_and_colours() -> None:
    x = np.array([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.5])
    assert clip01(x).tolist() == [0.0, 0.0, 0.0, 0.0, 0.25, 1.0, 1.0]
    assert clip11(x).tolist() == [-1.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.0]
    assert triangles(x).tolist() == [1.0, 1.0, -1.0, 1.0, 0.0, 1.0, -1.0]
    assert rgb(255, 51, 0) == (1.0, 0.2, 0.0)
    assert blend((0.0, 1.0, 0.5), (1.0, 0.0, 0.5), 0.25) == (0.25, 0.75, 0.5)


def test_every_module_of_the_room_is_read() -> None:
    assert {path.stem for path in ROOM.glob("*.py")} == {*MODULES, "__init__"}


# Everything of NumPy and math that the scenery may touch; each is exact, or moves no float.
NUMPY_ALLOWED = {
    "abs",
    "add",
    "any",
    "arange",
    "array",
    "asarray",
    "broadcast_arrays",
    "broadcast_to",
    "empty",
    "float32",
    "float64",
    "floor",
    "full_like",
    "int32",
    "int64",
    "intp",
    "max",
    "maximum",
    "min",
    "minimum",
    "ndarray",
    "negative",
    "ones",
    "sqrt",
    "uint32",
    "uint8",
    "zeros",
    "zeros_like",
}
MATH_ALLOWED = {"ceil", "floor", "inf", "sqrt"}
METHODS_FORBIDDEN = {
    "sum",
    "mean",
    "std",
    "var",
    "dot",
    "prod",
    "cumsum",
    "cumprod",
    "trace",
    "round",
    "random",
}


@pytest.mark.parametrize("name", MODULES)
def test_source_keeps_to_exact_operations(name: str) -> None:
    tree = ast.parse((ROOM / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "np":
                assert node.attr in NUMPY_ALLOWED, f"np.{node.attr}, {where}"
            elif isinstance(node.value, ast.Name) and node.value.id == "math":
                assert node.attr in MATH_ALLOWED, f"math.{node.attr}, {where}"
            else:
                assert node.attr not in METHODS_FORBIDDEN, f".{node.attr}, {where}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            # from Python 3.12 the built-in sum of floats rounds differently
            assert node.func.id not in {"sum", "pow", "round"}, f"{node.func.id}(), {where}"
        elif isinstance(node, (ast.BinOp, ast.AugAssign)):
            assert not isinstance(node.op, (ast.Pow, ast.MatMult)), f"** or @, {where}"
        elif isinstance(node, ast.Import):
            assert {a.name for a in node.names} <= {"math", "numpy"}, where
        elif isinstance(node, ast.ImportFrom):
            outside = {"__future__", "typing", "numpy.typing", "collections.abc", "dataclasses"}
            assert node.module in outside or f"{node.module}".startswith("pleinair.scenery."), where


class _Watched(ast.NodeTransformer):
    """Sends the operands of every arithmetic operation through a check."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        name = ast.Constant(type(node.op).__name__)
        check = ast.Name("_check", ast.Load())
        pair = ast.Call(check, [name, node.left, node.right], [])
        # (lambda p: p[0] op p[1])(_check(...)), so that operands are evaluated once
        left = ast.Subscript(ast.Name("p", ast.Load()), ast.Constant(0), ast.Load())
        right = ast.Subscript(ast.Name("p", ast.Load()), ast.Constant(1), ast.Load())
        arguments = ast.arguments([], [ast.arg("p")], None, [], [], None, [])
        return ast.Call(ast.Lambda(arguments, ast.BinOp(left, node.op, right)), [pair], [])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        # the check first, as the operand; what it works on is read once more
        seen = ast.parse(ast.unparse(node.target), mode="eval").body
        check = ast.Call(
            ast.Name("_check", ast.Load()),
            [ast.Constant(type(node.op).__name__), seen, node.value],
            [],
        )
        node.value = ast.Subscript(check, ast.Constant(1), ast.Load())
        return node


def _watched_scenery(check: Callable[[str, object, object], tuple[object, object]]) -> ModuleType:
    """The scenery's module ``day``, made of sources whose every arithmetic operation is checked."""
    for name in MODULES:
        path = ROOM / f"{name}.py"
        tree = _Watched().visit(ast.parse(path.read_text(encoding="utf-8")))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and f"{node.module}".startswith("pleinair.scenery."):
                node.module = f"{node.module}".replace("pleinair.scenery.", "watched_scenery_")
        module = ModuleType(f"watched_scenery_{name}")
        module.__dict__["_check"] = check
        sys.modules[module.__name__] = module
        exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), module.__dict__)
    return sys.modules["watched_scenery_day"]


def test_float32_is_only_added_and_multiplied_and_meets_no_numpy_scalar() -> None:
    seen: set[str] = set()

    def check(op: str, a: object, b: object) -> tuple[object, object]:
        single = [x for x in (a, b) if isinstance(x, np.ndarray) and x.dtype == np.dtype(np.float32)]
        if single:
            seen.add(op)
            # NumPy on 32-bit Arm estimates float32 quotients
            assert op in {"Add", "Sub", "Mult"}, op
            # NumPy 1 and 2 promote these differently
            assert not any(isinstance(x, np.generic) for x in (a, b)), (op, type(a), type(b))
        return a, b

    try:
        watched = _watched_scenery(check).SyntheticDay(64, 36, 7)
        plain = SyntheticDay(64, 36, 7)
        for hour in (0.0, 6.4, 13.0, 19.4, 21.0):
            assert np.array_equal(watched.frame(hour * 3600.0), plain.frame(hour * 3600.0))
    finally:
        for name in MODULES:
            sys.modules.pop(f"watched_scenery_{name}", None)
    assert seen == {"Add", "Sub", "Mult"}
