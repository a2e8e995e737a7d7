"""What all tests of rolls have in common."""

from __future__ import annotations

import threading

import pytest


@pytest.fixture
def no_thread_stays():
    """Every test ends with the threads that it began with."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before
