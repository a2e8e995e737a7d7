"""The house: who may import whom, and what a small machine need not have."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.house import PATHS, ROOT

ROOMS = ("host", "training", "hw", "pi")
MAY_IMPORT = {"host": {"host"}, "training": {"training", "host"}, "hw": {"hw", "host"}, "pi": {"pi", "host"}}
#: What runs on a board that has the standard library, NumPy and OpenCV alone.
CORE = ["errors", "network.integer", "network.reference", "painting.tiles", "images", "painting.grain", "models"]
CORE += ["cli.values", "scenery.day", "cameras.opening", "painting.painter"]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_downwards(room):
    for path in sorted((ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:  # the top of the file; functions may reach further, lazily
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top not in ROOMS or top in MAY_IMPORT[room], f"{path.name} imports {name}"


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_the_core_needs_only_numpy_and_opencv():
    """With every other package hidden, the core still imports and paints."""
    code = f"""
import sys
sys.path[:0] = {PATHS!r}
allowed = set(sys.stdlib_module_names) | {{"numpy", "cv2", "pleinair", "tests"}}
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Only())
for name in {CORE!r}:
    __import__("pleinair." + name)
import numpy as np
from pleinair.network import reference
from pleinair.painting.painter import NetworkPainter
from tests.networks import random_network
n = random_network(0, 2, 0, kernel=3)
p = NetworkPainter("reference", n, 8, lambda i: reference.run(n, i), 10_000)
print(p.paint(np.zeros((17, 20, 3), np.uint8)).shape)
"""
    done = _python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "(17, 20, 3)"


def test_painting_never_loads_torch():
    code = """
import sys
from pleinair.cli.main import main
main(["styles"])
main(["paint", "missing.jpg", "out.png"])
import pleinair.painting.painter, pleinair.films.recorder, pleinair.films.pipeline, pleinair.network.onnx
sys.exit(any(name in sys.modules for name in ("torch", "brevitas", "qonnx", "training")))
"""
    assert _python(code).returncode == 0


@pytest.mark.parametrize("package", ROOMS)
def test_python_3_10_can_read_every_file(package):
    for path in (ROOT / package).rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))
