"""The house: who may import whom, and what a small machine need not have.

Every import counts, those inside functions too: a room that is reached lazily is reached all the same.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import python
from tests.house import PATHS, ROOT

#: The rooms of ``pleinair`` from the lowest floor up. A room imports from its own floor only itself, and from
#: the floors below whatever it likes.
FLOORS = (
    ("scenery", "errors", "text", "damage", "profiles", "durable", "machine", "processes", "page", "pyav"),
    ("documents", "decoder", "exif", "heif", "transparency"),
    ("images",),
    ("network",),
    ("painting",),
    ("engines", "cameras", "models"),
    ("fpga", "films"),
    ("emulator",),
    ("backends",),
    ("rolls", "sharing"),
    ("doctor", "measuring", "serving", "farm"),
    ("face",),
    ("cli",),
)
#: ``pleinair/__init__.py``, what the world imports, and the program behind ``python -m pleinair``.
FACE = {"__init__": "face", "__main__": "cli"}
#: The other packages may use every room of ``pleinair`` but its command line; of each other they know nothing.
PACKAGES = {"host": "pleinair", "training": "pleinair_training", "hw": "pleinair_hw", "pi": "pleinair_pi"}
#: What runs on a board that has the standard library, NumPy and OpenCV alone.
CORE = ["errors", "network.integer", "network.reference", "painting.tiles", "images", "painting.grain", "models"]
CORE += ["cli.values", "scenery.day", "cameras.opening", "painting.painter"]


def floor_of(room: str) -> int:
    """The number of a room's floor, the lowest is 0."""
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"pleinair/{room} stands on no floor: give it one in FLOORS")


def sources(package: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every file of a package, and what is in it."""
    for path in sorted((ROOT / package / PACKAGES[package]).rglob("*.py")):
        yield path, ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere in a file, whole names, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def room_of(module: str) -> str | None:
    """The room of ``pleinair`` that a module's name lies in; None for the face itself and for other packages."""
    top, *rest = module.split(".")
    if top != "pleinair":
        return None
    names = {path.stem for path in (ROOT / "host" / "pleinair").iterdir()}
    return rest[0] if rest and rest[0] in names else "face"


def test_the_rooms_of_pleinair_import_only_downwards():
    wrong = []
    for path, tree in sources("host"):
        inside = path.relative_to(ROOT / "host" / "pleinair").parts
        own = FACE.get(path.stem, path.stem) if len(inside) == 1 else inside[0]
        for module, line in imports(tree):
            other = room_of(module)
            if other is None or other == own:
                continue
            if floor_of(other) >= floor_of(own):
                wrong.append(f"{path.relative_to(ROOT)}:{line} ({own}) imports {module} ({other})")
    assert not wrong, "\n".join(wrong)


def test_only_the_command_line_knows_the_other_packages():
    others = set(PACKAGES.values()) - {"pleinair"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path, tree in sources("host")
        for module, line in imports(tree)
        if module.split(".")[0] in others and path.relative_to(ROOT / "host" / "pleinair").parts[0] != "cli"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["training", "hw", "pi"])
def test_the_other_packages_know_pleinair_without_its_command_line(package):
    others = set(PACKAGES.values()) - {"pleinair", PACKAGES[package]}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path, tree in sources(package)
        for module, line in imports(tree)
        if module.split(".")[0] in others or module.split(".")[:2] == ["pleinair", "cli"]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_check_sees_an_import_inside_a_function():
    tree = ast.parse("def f():\n    from pleinair.cli.main import entry\n    import pleinair_hw.build\n")
    assert [module for module, _ in imports(tree)] == ["pleinair.cli.main.entry", "pleinair_hw.build"]
    assert room_of("pleinair.cli.main.entry") == "cli" and room_of("pleinair_hw.build") is None
    assert floor_of("cli") > floor_of("rolls") > floor_of("network")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return python("-c", code, cwd=ROOT)


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
    code = f"""
import sys
sys.path[:0] = {PATHS!r}
from pleinair.cli.main import main
main(["styles"])
main(["paint", "missing.jpg", "out.png"])
import pleinair.painting.painter, pleinair.films.recorder, pleinair.films.pipeline, pleinair.network.onnx
sys.exit(any(name in sys.modules for name in ("torch", "brevitas", "qonnx", "pleinair_training")))
"""
    assert _python(code).returncode == 0


def test_importing_pleinair_changes_nothing_and_costs_little():
    """No variable of the process is set, and neither OpenCV nor any engine is loaded before it is asked for."""
    code = f"""
import os, sys
sys.path[:0] = {PATHS!r}
before = dict(os.environ)
import pleinair
heavy = [name for name in ("cv2", "onnxruntime", "openvino", "av", "click", "torch") if name in sys.modules]
print(dict(os.environ) == before, heavy)
"""
    done = _python(code)
    assert done.stdout.strip() == "True []", done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("package", PACKAGES)
def test_python_3_10_can_read_every_file(package):
    for path in (ROOT / package).rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))
