"""Cameras that gphoto2 knows (DSLRs and others, by USB or PTP/IP), through its own command ``gphoto2``."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

from pleinair.cameras.remote import RemoteCamera
from pleinair.errors import CameraError, ImageError
from pleinair.images import MAX_BYTES, Photo
from pleinair.processes import as_child
from pleinair.text import one_line

#: Seconds for a picture: exposure, and download of a raw file by a slow cable.
DEADLINE = 75.0
#: What to install.
MISSING = "the command gphoto2 is not installed: sudo apt install gphoto2"
#: Characters of a message of the command's.
_MOST_SAID = 200


class Gphoto2Camera(RemoteCamera):
    """Releases the shutter for each picture; the camera's own settings are left as they are."""

    def __init__(self, port: str) -> None:
        """``port`` is gphoto2's name of one, "" for the only camera. Raises CameraError."""
        self._port = port
        super().__init__(f"gphoto2:{port}" if port else "gphoto2")

    def take(self) -> Photo:
        """See :class:`RemoteCamera`. Of a raw file and a JPEG, the JPEG is the picture."""
        command = shutil.which("gphoto2")
        if command is None:
            raise CameraError(f"camera {self.name}: {MISSING}", option=None)
        port = [f"--port={self._port}"] if self._port else []
        with tempfile.TemporaryDirectory(prefix="pleinair-") as folder:
            self._run([command, *port, "--quiet", "--capture-image-and-download", "--filename=%n.%C"], folder)
            return self._picture(Path(folder))

    def _run(self, command: list[str], folder: str) -> None:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=DEADLINE,
                check=False,
                preexec_fn=_bounded,
            )
        except subprocess.TimeoutExpired as error:
            raise CameraError(f"camera {self.name}: gphoto2 took longer than {DEADLINE:g} s") from error
        except OSError as error:
            raise CameraError(f"camera {self.name}: gphoto2: {error.strerror}") from error
        if done.returncode:
            lines = [line.strip("* \t") for line in done.stderr.decode(errors="replace").splitlines()]
            said = next((line for line in lines if line), f"status {done.returncode}")
            raise CameraError(f"camera {self.name}: gphoto2: {one_line(said)[:_MOST_SAID]}")

    def _picture(self, folder: Path) -> Photo:
        """The first of its files that is a picture. Raises CameraError, ImageError."""
        problem: ImageError | None = None
        names = sorted(os.listdir(folder))
        for name in names:
            path = folder / name
            with contextlib.suppress(OSError):
                if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
                    continue
                try:
                    return self.decode(path.read_bytes())
                except ImageError as error:
                    problem = problem or error
        if problem is None:
            raise CameraError(f"camera {self.name}: gphoto2 gave no picture")
        if not any(name.lower().endswith((".jpg", ".jpeg")) for name in names):
            kinds = one_line(", ".join(sorted({Path(name).suffix for name in names})))
            raise CameraError(f"camera {self.name}: gave {kinds} alone; set its image format to JPEG, or raw and JPEG")
        raise problem


def _bounded() -> None:
    """In the child before gphoto2: it ends with its parent, and writes no larger files."""
    as_child()
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BYTES, MAX_BYTES))
