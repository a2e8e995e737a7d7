"""Every error is one line that can be shown, whatever it quotes."""

from __future__ import annotations

import pytest

from pleinair.errors import ModelError, OptionError, PleinairError


@pytest.mark.parametrize("odd", ["nul\0", "two\nlines", "red\x1b[31m", "lone \ud800", "\u202e", "x" * 100_000])
def test_what_is_quoted_cannot_spoil_the_line(odd):
    error = ModelError(f"card {odd!s}: damaged", option="style")
    line = str(error)
    assert line.isprintable() and len(line) < 1000 and line.encode()
    assert line.startswith("style card ") and line.endswith(": damaged")
    assert isinstance(error, PleinairError) and error.message in line and error.args == (error.message,)


def test_a_plain_message_stays_as_it_is():
    assert str(OptionError("'a  b': choose from Vétheuil")) == "'a  b': choose from Vétheuil"
