"""What paints on a board asks for nothing but the standard library, NumPy, OpenCV and pynq."""

from __future__ import annotations

from tests.children import python
from tests.house import PATHS

CODE = """
import builtins, sys, tempfile
from pathlib import Path
sys.path[:0] = {paths!r}
allowed = set(sys.stdlib_module_names) | {{"numpy", "cv2", "pynq", "pynqmetadata", "pleinair"}}
genuine, refused = builtins.__import__, set()
def guarded(name, globals=None, *rest, **more):
    # pynq itself may import what it likes.
    if globals and str(globals.get("__name__")).split(".")[0] == "pleinair" and name.split(".")[0] not in allowed:
        refused.add(name)
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return genuine(name, globals, *rest, **more)
from tests.models import write_model
from tests.networks import random_network
network = random_network(1, 4, 0, 8, 3)
builtins.__import__ = guarded
import numpy as np

from pleinair.network import reference
from pleinair.fpga.overlay import Overlay
from pleinair.models import load_model
from pleinair.backends import Backend, open_painter
from pleinair.painting.painter import NetworkPainter
from pleinair.emulator.stand_in import stand_in
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    model = write_model(folder / "model", network, 16)
    deploy = stand_in(folder / "deploy", model, 8, board="zcu104", clock_mhz=100, height=64, width=96)
    overlay = Overlay.parse(f"emulated:{{deploy.folder}}")
    style, bits = overlay.style()
    painter = open_painter(load_model(style, bits), Backend("fpga", overlay=overlay, fallback="reference"))
    frame = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    plain = NetworkPainter("reference", network, 16, lambda i: reference.run(network, i), 1 << 20, 2)
    assert np.array_equal(painter.paint(frame), plain.paint(frame))
    painter.close()
# The emulation would like ONNX Runtime and does without.
assert refused <= {{"onnxruntime", "onnx"}}, refused
print("painted")
"""


def test_the_boards_side_needs_only_numpy_opencv_and_pynq():
    done = python("-W", "ignore", "-c", CODE.format(paths=PATHS))
    assert done.stdout.strip() == "painted", done.stderr[-2000:]
