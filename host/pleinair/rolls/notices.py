"""Notices by Apprise: mail, chat and webhooks, each named by an address such as ``mailto://...`` or ``tgram://...``.

The addresses hold passwords and tokens. They are kept as cameras' are (:mod:`pleinair.rolls.addresses`), go to a
process of their own by its standard input, and are repeated nowhere; only their kind is told. That process also bounds
what they may take: it is killed at its deadline, and Apprise's memory goes with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pleinair.errors import OptionError
from pleinair.processes import as_child, isolated
from pleinair.rolls.notify import TIMEOUT, Notice

#: What to say to somebody without Apprise.
MISSING = "needs apprise: pip install '.[notify]' in a checkout of pleinair"
_PROGRAM = "from pleinair.rolls.notices import deliver; deliver()"


def parse_addresses(text: str) -> list[str]:
    """Apprise's addresses, separated by blanks. Raises OptionError, which does not repeat them."""
    addresses = text.split()
    if not addresses or not all("://" in address and address.isprintable() for address in addresses):
        raise OptionError("addresses: write such as mailto://..., tgram://..., with blanks between", option="notify")
    if importlib.util.find_spec("apprise") is None:
        raise OptionError(f"{_kinds(addresses)}: {MISSING}", option="notify")
    unknown, problem = _ask({"addresses": addresses}, TIMEOUT)
    if unknown or problem:
        raise OptionError(f"{', '.join(unknown) or problem}: Apprise knows no such address", option="notify")
    return addresses


def _kinds(addresses: Sequence[str]) -> str:
    return ", ".join(address.partition("://")[0] + "://" for address in addresses)


class Apprise:
    """Delivers notices to addresses that :func:`parse_addresses` took."""

    def __init__(self, addresses: Sequence[str], timeout: float = TIMEOUT) -> None:
        self._addresses, self._timeout = list(addresses), timeout

    def __call__(self, notice: Notice, roll: Path) -> str:
        """See :data:`~pleinair.rolls.notify.Sender`."""
        told = {"title": f"pleinair: {roll.name}", "body": notice.message, "news": notice.news}
        failed, problem = _ask({"addresses": self._addresses, **told}, self._timeout)
        return f"{', '.join(failed)} did not take a notice" if failed else problem


def _ask(question: dict[str, Any], timeout: float) -> tuple[list[str], str]:
    """The kinds of addresses that do not serve, and what went wrong with asking."""
    kinds = _kinds(question["addresses"])
    try:
        done = subprocess.run(
            isolated(_PROGRAM), input=json.dumps(question).encode(), capture_output=True, timeout=timeout, check=False
        )
        return [str(kind) for kind in json.loads(done.stdout)], ""
    except subprocess.TimeoutExpired:
        return [], f"{kinds} took longer than {timeout:.0f} s"
    except OSError as error:
        return [], f"{kinds}: {error.strerror}"
    except (ValueError, TypeError):
        return [], f"{kinds}: apprise failed"


def deliver() -> None:
    """The child's program: checks addresses, or tells them something; it answers with the kinds that do not serve."""
    as_child()
    # Plugins may print.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable()
    import apprise

    question, failed = json.load(sys.stdin), list[str]()
    for address in question["addresses"]:
        done = False
        with contextlib.suppress(Exception):  # whatever a plugin raises
            sender = apprise.Apprise()
            done = sender.add(address)
            if done and "body" in question:
                kind = apprise.NotifyType.INFO if question["news"] else apprise.NotifyType.WARNING
                done = bool(sender.notify(body=question["body"], title=question["title"], notify_type=kind))
        if not done:
            failed.append(_kinds([address]))
    answers.write(json.dumps(failed))
    answers.flush()
