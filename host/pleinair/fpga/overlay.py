"""Overlays: what a painter loads into an FPGA, as the command line and a roll's settings name it.

``DEPLOY`` is a deployment folder for a board. ``emulated:FOLDER`` is a deployment or a build whose board is emulated in
software, and ``simulated:BUILD`` is a build whose generated hardware is simulated; both need no board.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from pleinair.errors import ModelError, OptionError
from pleinair.fpga.build_folder import is_build, read_build
from pleinair.fpga.deployment import Deployment, read_deployment
from pleinair.fpga.light_port import check_network
from pleinair.models import Model, read_card, styles
from pleinair.network.integer import IntegerNetwork

#: Overlays without a board, and what computes in its place: the integer network, or the build's RTL in Verilator.
EMULATED, SIMULATED = "emulated", "simulated"
KINDS = (EMULATED, SIMULATED)


@dataclass(frozen=True)
class Overlay:
    """A folder, and what stands in for its board: ``emulated``, ``simulated``, or "" for a real board."""

    folder: Path
    kind: str = ""

    @classmethod
    def parse(cls, text: str) -> Overlay:
        """Read ``DEPLOY``, ``emulated:FOLDER`` or ``simulated:BUILD``. Raises OptionError where no folder is named."""
        kind, colon, name = text.partition(":")
        if not colon or kind not in KINDS:
            kind, name = "", text
        if not name or "\0" in name:
            raise OptionError(f"{text!r}: name a folder: DEPLOY, emulated:FOLDER or simulated:BUILD", option="overlay")
        return cls(Path(name), kind)

    def __str__(self) -> str:
        """The text that :meth:`parse` reads as this overlay."""
        if self.kind:
            return f"{self.kind}:{self.folder}"
        # A folder may really be called "emulated:x".
        looks_otherwise = str(self.folder).startswith(tuple(f"{kind}:" for kind in KINDS))
        return f"./{self.folder}" if looks_otherwise else str(self.folder)

    def absolute(self) -> Overlay:
        """The same overlay from any working folder."""
        return Overlay(self.folder.absolute(), self.kind)

    def style(self) -> tuple[str, int]:
        """What the overlay paints: a style (its name if it is known, else its model's folder) and bits.

        Raises DeploymentError, ModelError.
        """
        if self.kind and is_build(self.folder):
            build = read_build(self.folder)
            return build.model, build.bits
        deployment = read_deployment(self.folder)
        known, bits = styles().get(deployment.style), deployment.bits
        if known is not None:
            with contextlib.suppress(ModelError):
                if read_card(known).network_sha256(bits) == read_card(deployment.model).network_sha256(bits):
                    return deployment.style, deployment.bits
        return str(deployment.model.resolve()), deployment.bits


def check_model(deployment: Deployment, model: Model) -> None:
    """Raise OptionError unless the deployment paints exactly this model: its network, margin, grain and lights."""
    card = read_card(deployment.model)
    found, asked = card.network_sha256(deployment.bits), model.sha256
    if deployment.bits != model.bits or found != asked:
        raise OptionError(
            f"{deployment.folder}: paints {deployment.style} at {deployment.bits} bits, network "
            f"{found[:12]}, not {model.style} at {model.bits} bits, network {asked[:12]}",
            option="overlay",
        )
    for key, built, value in (("margin", card.margin, model.margin), ("grain", card.grain, model.grain)):
        if built != value:
            raise OptionError(
                f"{deployment.folder}: built for a {key} of {built}, {model.style} has {value}", option="overlay"
            )
    if not isinstance(model.network, IntegerNetwork) or not model.adaptive:
        return
    if deployment.light is None:
        raise OptionError(
            f"{deployment.folder}: has no registers for light, which {model.style} needs; build it again",
            option="overlay",
        )
    check_network(
        deployment.light,
        model.network,
        deployment.height,
        deployment.width,
        str(deployment.folder),
        trimmed=deployment.inset > 0,
    )
