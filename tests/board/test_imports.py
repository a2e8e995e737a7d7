"""What paints on a board asks for nothing but the standard library, NumPy, OpenCV and pynq."""

from __future__ import annotations

from tests.children import python
from tests.house import PATHS

CODE = """
import builtins, shutil, sys, tempfile
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
from tests.networks import adaptive_network, random_network
networks = random_network(1, 4, 0, 8, 3), adaptive_network(1, 4, 0, 8, 3)
builtins.__import__ = guarded
import numpy as np

from pleinair.network import reference
from pleinair.fpga.overlay import Overlay
from pleinair.models import load_model
from pleinair.backends import Backend, open_painter
from pleinair.emulator.stand_in import stand_in
for number, network in enumerate(networks):
    folder = Path(tempfile.mkdtemp())
    model = write_model(folder / "model", network, 16)
    # An adaptive network is metered here, so that no accelerator does it.
    deploy = stand_in(
        folder / "deploy", model, 8, board="zcu104", clock_mhz=100, height=64, width=96, metering=False
    )
    overlay = Overlay.parse(f"emulated:{{deploy.folder}}")
    style, bits = overlay.style()
    model = load_model(style, bits)
    painter = open_painter(model, Backend("fpga", overlay=overlay, fallback="reference" if number == 0 else None))
    frame = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    assert np.array_equal(painter.paint(frame), open_painter(model, "reference").paint(frame))
    painter.close()
    shutil.rmtree(folder)
# The emulation would like ONNX Runtime, and styles platformdirs; both do without.
assert refused <= {{"onnxruntime", "onnx", "platformdirs"}}, refused
print("painted")
"""


def test_the_boards_side_needs_only_numpy_opencv_and_pynq():
    done = python("-W", "ignore", "-c", CODE.format(paths=PATHS))
    assert done.stdout.strip() == "painted", done.stderr[-2000:]
