"""Files whole or not at all: what is left at every fault, in which order the disk is asked, two writers at once."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from pleinair import durable

CALLS = ("write", "fsync", "replace")


class Calls:
    """Counts the system calls that write, and lets the one of number ``at`` fail with ``error``."""

    def __init__(self, monkeypatch, at: int = 0, error: BaseException | None = None) -> None:
        self.names: list[str] = []
        self.at, self.error = at, error
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name, real):
        def call(first, *rest):
            is_folder = name == "fsync" and os.path.isdir(f"/proc/self/fd/{first}")
            self.names.append("fsync folder" if is_folder else name)
            if len(self.names) == self.at:
                raise self.error
            return real(first, *rest)

        return call


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("shared", [False, True])
def test_the_disk_is_asked_in_the_order_that_survives_a_power_cut(tmp_path, monkeypatch, shared):
    calls = Calls(monkeypatch)
    durable.write_file(tmp_path / "file", b"new", shared=shared)
    assert calls.names == ["write", "fsync", "replace", "fsync folder"]
    calls.names.clear()
    durable.write_file(tmp_path / "file", b"newer", durable=False, shared=shared)
    assert calls.names == ["write", "replace"]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_fault_leaves_the_old_file_or_the_new_one_and_no_part(tmp_path, monkeypatch, at, error, shared):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        Calls(patch, at, error)
        with pytest.raises(type(error)):
            durable.write_file(path, b"new", shared=shared)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == (b"new" if at == 4 else b"old")


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    durable.write_file(tmp_path / "file", bytes(range(100)))
    assert (tmp_path / "file").read_bytes() == bytes(range(100))


def test_two_writers_at_once_leave_one_of_their_files(tmp_path):
    path, failed = tmp_path / "file", []
    texts = [bytes([letter]) * 100_000 for letter in b"abcd"]

    def write(text: bytes) -> None:
        try:
            for _ in range(20):
                durable.write_file(path, text, durable=False, shared=True)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_bytes() in texts
    assert not failed and [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EACCES])
def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch, code):
    Calls(monkeypatch, 4, OSError(code, os.strerror(code)))
    durable.write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_folder_on_a_failing_disk_is_an_error(tmp_path, monkeypatch):
    Calls(monkeypatch, 1, OSError(errno.EIO, os.strerror(errno.EIO)))
    with pytest.raises(OSError, match="Input/output"):
        durable.sync_folder(tmp_path)


def test_a_folder_is_made_once(tmp_path, monkeypatch):
    calls = Calls(monkeypatch)
    durable.make_folder(tmp_path / "new")
    durable.make_folder(tmp_path / "new")
    assert (tmp_path / "new").is_dir() and calls.names == ["fsync folder"]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (2 << 20) + 7])
def test_the_hash_is_that_of_the_whole_file(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert durable.file_sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_a_missing_file_has_no_hash():
    with pytest.raises(FileNotFoundError):
        durable.file_sha256(Path("/nowhere/at all"))


def test_a_file_for_pyav_keeps_its_error(tmp_path, monkeypatch):
    file = durable.DurableFile(tmp_path / "film")
    assert file.write(b"abcdef") == 6 and file.seek(2) == 2 and file.write(b"X") == 1 and file.tell() == 3
    with monkeypatch.context() as patch:
        Calls(patch, 1, FULL)
        with pytest.raises(OSError, match="No space left"):
            file.write(b"more")
    assert file.error is FULL
    file.close()
    file.close()
    assert (tmp_path / "film").read_bytes() == b"abXdef"
