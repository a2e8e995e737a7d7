"""For all tests: a deadline, at which one fails with the stacks of its threads; and a watch on threads that stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator

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


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    """The test ends with no threads but those that it began with."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before, "threads that the test began are still there"
