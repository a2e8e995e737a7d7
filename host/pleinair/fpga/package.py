"""What is copied to a board: a deployment folder, the program, and how to start it, as one tar file.

    pleinair/deploy/               the deployment folder
    pleinair/lib/                  the program; neither training nor the compiler
    pleinair/pleinair              runs it as root in PYNQ's environment, with this overlay
    pleinair/install.sh            the few packages that PYNQ's image lacks, and the service
    pleinair/film.default.toml     what the service films, unless film.toml beside it says otherwise
    pleinair/pleinair.service
    pleinair/LICENSE, LICENSE.*    of the program, and of what the bitstream is made from

It is unpacked over an earlier one: :data:`UNPACK` empties deploy/ and lib/ first; the user's film.toml and rolls stay.

PYNQ's images hold their packages in /usr/local/share/pynq-venv and say so in /etc/profile.d; the overlay and the
memory for buffers can be had by root alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import tarfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from pleinair.errors import OptionError, OutputError
from pleinair.fpga.build_folder import is_build, read_build
from pleinair.fpga.deployment import Deployment, DeploymentError, read_deployment

ROOT = "pleinair"
#: Unpacks a package, whose folders are emptied before: no file of an earlier deployment stays in them.
UNPACK = "tar --recursive-unlink -xzf"
#: Packages of pyproject.toml that PYNQ's images lack; NumPy and OpenCV are there, in the versions that fit them.
PACKAGES = ("click>=8.1.8,<9", "rich>=13.9", "tomli>=2", "av>=15", "astral>=3")

_LAUNCHER = """\
#!/bin/bash
# pleinair in PYNQ's environment, painting with the overlay beside this file.
if [ "$(id -u)" -ne 0 ]; then
    exec sudo "$0" "$@"
fi
here="$(dirname "$(readlink -f "$0")")"
set -a
[ -r /etc/environment ] && . /etc/environment
set +a
for file in /etc/profile.d/*.sh; do
    if [ -r "$file" ]; then . "$file"; fi
done
# What paints unless the command or its --config says otherwise.
export PLEINAIR_OVERLAY="$here/deploy"
# Root's files stay out of lib/, which the next deployment replaces.
export PYTHONPYCACHEPREFIX=/var/cache/pleinair
PYTHONPATH="$here/lib" exec python3 -c 'from pleinair.cli.main import entry; entry()' "$@"
"""

_INSTALL = """\
#!/bin/bash
# Once, as root: the packages that are missing, and the service (not started).
set -e
here="$(dirname "$(readlink -f "$0")")"
case "$here" in
*[!A-Za-z0-9/._-]*)
    echo "$here: a service cannot be in a folder of this name; allowed are letters, digits and . _ -" >&2
    exit 1 ;;
esac
for file in /etc/profile.d/*.sh; do
    if [ -r "$file" ]; then . "$file"; fi
done
python3 -c 'import pynq, cv2, numpy' || { echo 'This is no PYNQ image: pynq, cv2 or numpy is missing.' >&2; exit 1; }
python3 -m pip install --quiet @PACKAGES@
sed "s|@HERE@|$here|g" "$here/pleinair.service" > /etc/systemd/system/pleinair.service
systemctl daemon-reload
if [ -e "$here/film.toml" ]; then
    echo "Kept:        $here/film.toml; what this deployment would film is in film.default.toml"
else
    cp "$here/film.default.toml" "$here/film.toml"
    chown --reference="$here" "$here/film.toml"
fi
echo "Try:         $here/pleinair paint PHOTO PAINTING"
echo "Film:        edit $here/film.toml, then: systemctl enable --now pleinair"
"""

_UNIT = """\
[Unit]
Description=pleinair, a time-lapse camera that paints
After=time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=all
# A roll that is there is gone on with; what is on it stays.
ExecStart=/bin/bash -c 'if [ -e @HERE@/roll ]; then exec @HERE@/pleinair resume @HERE@/roll; \\
  else exec @HERE@/pleinair run --roll @HERE@/roll --config @HERE@/film.toml; fi'
Restart=on-failure
RestartSec=10
WatchdogSec=300
TimeoutStopSec=120
KillSignal=SIGINT
ProtectSystem=full
PrivateTmp=true
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
"""

_FILM = """\
# What the service films: options of `pleinair run`.
camera = "v4l2:0"
every = "10s"
size = "@SIZE@"
# What paints while the accelerator does not: "cpu" where ONNX Runtime is installed, "reference" is slow everywhere.
# fallback = "cpu"
"""


def find_deployment(folder: Path) -> Deployment:
    """A deployment folder, or the one in a build. Raises DeploymentError, OptionError."""
    if is_build(folder):
        if not (folder / "deploy").is_dir():
            read_build(folder)
            raise OptionError(
                f"{folder}: the build has no deployment folder, which needs Vivado or open tools (see docs/vivado.md); "
                f"without, paint with the overlay emulated:{folder}"
            )
        folder = folder / "deploy"
    return read_deployment(folder)


def frame_size(deployment: Deployment) -> tuple[int, int]:
    """Width and height of the frame that is one tile. Raises ModelError."""
    from pleinair.models import read_card

    margin = read_card(deployment.model).margin
    return deployment.width - 2 * margin, deployment.height - 2 * margin


def _program() -> list[tuple[Path, str]]:
    """The program's files, and their names on the board."""
    found: list[tuple[Path, str]] = []
    for package in ("pleinair", "pleinair_pi"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise DeploymentError(f"package {package}: not installed here, and the board needs it")
        home = Path(spec.origin).parent
        files = sorted(path for path in home.rglob("*") if path.suffix in (".py", ".html") and path.is_file())
        found += [(path, f"lib/{package}/{path.relative_to(home).as_posix()}") for path in files]
    return found


def _licences() -> dict[str, str]:
    """The licence of the program, and that of the compiler's RTL where the compiler is installed; by file's name."""
    own, found = Path(__file__).parents[3] / "LICENSE", dict[str, str]()
    if own.is_file():
        found["LICENSE"] = own.read_text()
    for name, part, file in (
        ("LICENSE", "pleinair", "licenses/LICENSE"),
        ("LICENSE.finn-plus", "finn-plus", "licenses/LICENSE.txt"),
    ):
        with contextlib.suppress(PackageNotFoundError):
            text = distribution(part).read_text(file)
            if text is not None:
                found.setdefault(name, text)
    if "LICENSE" not in found:
        raise DeploymentError("package pleinair: its file LICENSE is not installed here, and goes wherever it goes")
    return found


def package(folder: Path) -> bytes:
    """The tar file, compressed. Raises DeploymentError, ModelError, OptionError."""
    deployment = find_deployment(folder)
    width, height = frame_size(deployment)
    texts = {
        "pleinair": (_LAUNCHER, 0o755),
        "install.sh": (_INSTALL.replace("@PACKAGES@", shlex.join(PACKAGES)), 0o755),
        "pleinair.service": (_UNIT, 0o644),
        "film.default.toml": (_FILM.replace("@SIZE@", f"{width}x{height}"), 0o644),
        **{name: (text, 0o644) for name, text in _licences().items()},
    }
    buffer, now = io.BytesIO(), int(time.time())
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:

        def add(name: str, data: bytes, mode: int) -> None:
            member = tarfile.TarInfo(f"{ROOT}/{name}")
            member.size, member.mode, member.mtime = len(data), mode, now
            tar.addfile(member, io.BytesIO(data))

        for name in ("deploy", "lib"):
            member = tarfile.TarInfo(f"{ROOT}/{name}")
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, now
            tar.addfile(member)
        for name, (text, mode) in texts.items():
            add(name, text.encode(), mode)
        for path, name in _program():
            add(name, path.read_bytes(), 0o644)
        for path in sorted(p for p in deployment.folder.rglob("*") if p.is_file()):
            add(f"deploy/{path.relative_to(deployment.folder).as_posix()}", path.read_bytes(), 0o644)
    return buffer.getvalue()


def instructions(file: Path, address: str = "xilinx@pynq") -> str:
    """Three lines that bring a package to a board. Raises OptionError for a name that no line can hold."""
    if not str(file).isprintable():
        raise OptionError(f"{str(file)!r}: cannot be part of a command; allowed are printable characters", option="out")
    # A colon would name a host, a dash an option.
    here, there = (path if os.path.isabs(path) else f"./{path}" for path in (str(file), file.name))
    unpack = f"{UNPACK} {shlex.quote(there)}"
    return "\n".join(
        (
            f"scp {shlex.quote(here)} {address}:",
            f"ssh {address} {shlex.quote(unpack)}",
            f"ssh -t {address} 'sudo {ROOT}/install.sh'",
        )
    )


def send(data: bytes, address: str) -> None:
    """Unpack a package in the home of ``user@board``, by ssh. Raises OptionError, OutputError."""
    if not address or address.startswith("-") or any(c.isspace() for c in address):
        raise OptionError(f"{address!r}: must be USER@BOARD", option="to")
    ssh = shutil.which("ssh")
    if ssh is None:
        raise OutputError("needs ssh, which was not found; write the package to a file and copy that", option="to")
    done = subprocess.run([ssh, "--", address, f"{UNPACK} -"], input=data, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()) or f"status {done.returncode}"
        raise OutputError(f"{address}: {said}", option="to")
