"""The service: a roll that goes on by itself at boot, watched by systemd, allowed no more than it needs.

``Type=notify`` with a watchdog: a time-lapse whose capture gives no sign of life is killed and started again, and loses
the frame at hand. It may read the system and write the roll and its film's folder; of all devices it sees cameras and
the firmware's mailbox; it gains no privileges. The options are those of systemd.exec(5) and systemd.service(5).
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import sys
from pathlib import Path

from pleinair.errors import OptionError, OutputError
from pleinair.rolls.ledger import read_ledger
from pleinair.rolls.settings import read_settings

UNITS = Path("/etc/systemd/system")
#: Seconds: systemd kills a time-lapse that is silent for the first, waits the second before it starts it again.
WATCHDOG, RESTART = 300, 20

_UNIT = """\
[Unit]
Description=pleinair time-lapse on {roll}
Documentation=man:systemd.service(5)
# The clock may never be set; a time-lapse does without.
After=local-fs.target time-sync.target
RequiresMountsFor={roll}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} resume {roll}{preview}
User={user}
SupplementaryGroups=video
WorkingDirectory={folder}
Environment=PYTHONUNBUFFERED=1
{models}Restart=on-failure
SuccessExitStatus=3 130
# A roll that is in use, or whose disk is full, is looked at again later.
RestartSec={restart}
WatchdogSec={watchdog}
# A long roll takes a while to be put in order after a power cut.
TimeoutStartSec=900
TimeoutStopSec=60
# Ctrl-C's way for the time-lapse, and its processes go with it.
KillMode=mixed
# Capture is never starved by what else runs.
CPUWeight=200
OOMScoreAdjust=-300

NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0022
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-dma_heap rw
DeviceAllow=char-drm rw
# gphoto2's cameras.
DeviceAllow=char-usb_device rw
DeviceAllow=/dev/vcio rw

[Install]
WantedBy=multi-user.target
"""


def unit_name(roll: Path) -> str:
    """The unit of a roll: one for each, by its folder's name."""
    return f"pleinair-{re.sub('[^A-Za-z0-9_.-]', '-', roll.resolve().name)}.service"


def unit_text(roll: Path, user: str, command: Path, preview: int | None = None, preview_host: str | None = None) -> str:
    """The unit file for a roll. Raises OptionError for names that a unit cannot hold, RollError for no roll."""
    roll, folder = roll.resolve(), roll.resolve().parent
    settings = read_settings(roll, read_ledger(roll))
    writable = [roll]
    if settings.out is not None:
        writable.append(Path(settings.out).resolve().parent)
    for path in (*writable, command):
        if re.search(r"[\s%\"'\\$]", str(path)):
            raise OptionError(f"service: {path}: a path without spaces, quotes, % or $ is needed")
    models = os.environ.get("PLEINAIR_MODELS")
    if preview_host is not None and not re.fullmatch(r"[A-Za-z0-9_.:,-]+", preview_host):
        raise OptionError(f"{preview_host!r}: no address", option="preview_host")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*\$?", user):
        raise OptionError(f"{user!r}: no name of a user", option="user")
    if models and re.search(r"[\s%\"'\\$]", models):
        raise OptionError(f"service: PLEINAIR_MODELS {models!r}: a path without spaces, quotes, % or $ is needed")
    return _UNIT.format(
        roll=roll,
        folder=folder,
        command=command,
        user=user,
        restart=RESTART,
        watchdog=WATCHDOG,
        writable=" ".join(map(str, writable)),
        preview=("" if preview is None else f" --preview {preview}")
        + ("" if preview_host is None else f" --preview-host {preview_host}"),
        models=f"Environment=PLEINAIR_MODELS={Path(models).resolve()}\n" if models else "",
    )


def _refuse_another(roll: Path, path: Path) -> None:
    """Raise OptionError where the unit of that name is another roll's."""
    try:
        found = re.search(r"^RequiresMountsFor=(.+)$", path.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return
    if found is not None and found[1] != str(roll.resolve()):
        raise OptionError(f"service: {path} is that of the roll {found[1]}; rename this roll's folder")


def own_command() -> Path:
    """The pleinair that is running, by its full path."""
    beside = Path(sys.executable).parent / "pleinair"
    return beside if beside.exists() else Path(sys.argv[0]).resolve()


def install(
    roll: Path,
    user: str | None,
    preview: int | None,
    preview_host: str | None = None,
    units: Path = UNITS,
    start: bool = True,
) -> Path:
    """Write the unit, enable it and start it; where it is. Raises OutputError when that is not allowed."""
    _refuse_another(roll, units / unit_name(roll))
    owner = user or os.environ.get("SUDO_USER") or getpass.getuser()
    path = units / unit_name(roll)
    text = unit_text(roll, owner, own_command(), preview, preview_host)
    try:
        path.write_text(text)
    except OSError as error:
        raise OutputError(f"service {path}: {error.strerror}; run it by sudo") from error
    if start:
        for arguments in (["daemon-reload"], ["enable", "--now", path.name]):
            try:
                done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
            except OSError as error:
                raise OutputError(f"service {path.name}: systemctl: {error.strerror}") from error
            if done.returncode:
                raise OutputError(f"service {path.name}: systemctl {arguments[0]}: {done.stderr.strip()}")
    return path


def remove(roll: Path, units: Path = UNITS) -> Path:
    """Stop and disable a roll's service, and remove its unit. Raises OutputError."""
    path = units / unit_name(roll)
    if not path.exists():
        raise OutputError(f"service {path}: there is none")
    _refuse_another(roll, path)
    try:
        subprocess.run(["systemctl", "disable", "--now", path.name], capture_output=True, check=False)
        path.unlink()
    except OSError as error:
        raise OutputError(f"service {path}: {error.strerror}; run it by sudo") from error
    return path
