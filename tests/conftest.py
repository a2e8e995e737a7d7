"""For all tests: each has a deadline, and one that passes it fails with the stacks of its threads."""

from __future__ import annotations

import pytest

#: Seconds for a test, and for one that is marked ``slow`` or ``rtl``, with its fixtures.
DEADLINE, LONG = 900, 3 * 3600


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test its deadline, which pytest-timeout keeps; a board's environment does without."""
    if not config.pluginmanager.hasplugin("timeout"):
        return
    for item in items:
        if item.get_closest_marker("timeout") is None:
            slow = item.get_closest_marker("slow") or item.get_closest_marker("rtl")
            item.add_marker(pytest.mark.timeout(LONG if slow else DEADLINE))
