"""The lock: one process at a time, told by its number, and free again when its holder lets go."""

from __future__ import annotations

import os

import pytest

from pleinair.errors import RollError
from pleinair.rolls.lock import is_running, lock_roll


def test_one_at_a_time(tmp_path):
    assert not is_running(tmp_path)
    handle = lock_roll(tmp_path)
    assert is_running(tmp_path)
    with pytest.raises(RollError, match=f"in use by another pleinair .process {os.getpid()}"):
        lock_roll(tmp_path)
    os.close(handle)
    assert not is_running(tmp_path)
    os.close(lock_roll(tmp_path))


def test_without_a_folder_there_is_no_lock(tmp_path):
    assert not is_running(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        lock_roll(tmp_path / "none")
