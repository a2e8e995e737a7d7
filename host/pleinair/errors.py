"""The errors that pleinair raises for what a user can mend.

Each carries one sentence that names the thing, the value and what is allowed. The command line prints
that sentence and ends with status 2; a library caller catches :class:`PleinairError`. What *we* did
wrong is never one of these: it raises Python's own exceptions, loudly.
"""

from __future__ import annotations

#: No sentence is longer; of one that quotes a long value the middle is left out.
_LONGEST = 1000


def _sentence(message: str) -> str:
    """A message as a line that can be shown, whatever was in the file that it quotes."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 3 :]}"


class PleinairError(Exception):
    """Base of every error that a user can mend; ``str(error)`` is one line that can be shown.

    What is not printable in a message is escaped, and the middle of a very long one left out.

    ``option`` names the argument whose value is refused, as a Python caller writes it (``style_weight``), or is
    None. The message then continues the name: ``ModelError("'nope': unknown", option="style")`` reads
    "style 'nope': unknown", and the command line writes "--style 'nope': unknown".
    """

    def __init__(self, message: str = "", *, option: str | None = None) -> None:
        message = _sentence(message)
        super().__init__(message)
        self.message, self.option = message, option

    def __str__(self) -> str:
        return self.message if self.option is None else f"{self.option} {self.message}"


class OptionError(PleinairError):
    """An option or setting has a value outside what is allowed; raised by whoever parses it."""


class ImageError(PleinairError):
    """An image cannot be used: unreadable, truncated, too small or too large."""


class ModelError(PleinairError):
    """A model folder or file is missing, damaged, hostile, or not what was asked for."""


class ContractError(ModelError):
    """A network breaks the integer contract; the message names the layer and the number."""


class LightError(PleinairError):
    """A light belongs to another network, is damaged, or has a number outside what is allowed."""


class EngineError(PleinairError):
    """An inference engine is missing, or does not compute the reference's pixels on this machine."""


class CameraError(PleinairError):
    """A camera, folder of frames or video cannot be opened, or has no frame to give."""


class AwayError(CameraError):
    """A camera's folder, disk or share is away for now; asked again later, it may give its frames."""


class OutputError(PleinairError):
    """A result cannot be written: no such folder, not writable, no space left."""


class RollError(PleinairError):
    """A roll is missing, damaged beyond what can be mended, in use by another run, or of another kind."""


class DiskFullError(PleinairError):
    """The disk is at the floor that a roll keeps free, or full, and nothing on it may be deleted."""


class FarmError(PleinairError):
    """Work cannot be shared among machines: the cluster is not there, no machine of it serves, or work failed on it."""


class TrainingError(PleinairError):
    """Training cannot start or go on: photos, painting, loss network or checkpoint do not serve."""
