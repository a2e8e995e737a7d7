"""``python -m pleinair``: the command."""

from __future__ import annotations

from pleinair.cli.main import entry

entry()
