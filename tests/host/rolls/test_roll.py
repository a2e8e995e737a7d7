"""A roll on disk: where one can be, that one process writes to it, and the pieces and paintings it knows."""

from __future__ import annotations

import os

import pytest

from pleinair.errors import RollError
from pleinair.rolls.roll import Roll
from tests.children import python
from tests.house import PATHS
from tests.rolls import (
    Still,
    film_roll,
    new_roll,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_the_second_of_two_runs_is_refused(tmp_path):
    roll = new_roll(tmp_path / "roll")
    for attempt in (lambda: Roll.open(tmp_path / "roll"), lambda: new_roll(tmp_path / "roll")):
        with pytest.raises(RollError, match=f"in use by another pleinair .process {os.getpid()}|something already"):
            attempt()
    roll.close()
    Roll.open(tmp_path / "roll").close()


def test_places_where_no_roll_can_be(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("x")
    for name, cause in (
        ("file", "something already; name a new"),
        ("full", "something already"),
        ("no/roll", "does not exist"),
    ):
        with pytest.raises(RollError, match=cause):
            new_roll(tmp_path / name)
    for name, cause in (("file", "Not a directory"), ("full", "no roll there"), ("none", "No such file")):
        with pytest.raises(RollError, match=cause):
            Roll.open(tmp_path / name)
    film_roll(new_roll(tmp_path / "roll"), Still())
    with pytest.raises(RollError, match="go on with it by: pleinair resume"):
        new_roll(tmp_path / "roll")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_read_only_folder_is_told_in_one_line(tmp_path):
    film_roll(new_roll(tmp_path / "roll"), Still())
    for path in [tmp_path / "roll", *tmp_path.glob("roll/**/*")]:
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    os.chmod(tmp_path, 0o755)
    # All is imported, and the folder entered, before the privileges go.
    code = (
        f"import os, sys; sys.path[:0] = {PATHS!r}; os.chdir({str(tmp_path)!r})\n"
        "import pleinair.rolls.beginning, pleinair.serving.site, pleinair_pi.camera, pleinair_pi.heat\n"
        "from pleinair.cli.main import main\n"
        "os.setuid(65534); sys.exit(main(['resume', 'roll']))"
    )
    done = python("-c", code)
    assert done.returncode == 2 and done.stderr == "pleinair: roll roll: Permission denied\n"
