"""Text from files, cameras and networks, made fit for a terminal or a report."""

from __future__ import annotations


def one_line(text: str) -> str:
    """``text`` as one printable line that can be encoded; what is not printable is escaped as Python writes it.

    Names in files may hold anything: line ends, escape sequences, lone surrogates. Spaces are joined to one.

    >>> one_line("a\\n  b\\x1b[31m")
    'a b\\\\x1b[31m'
    """
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """``text`` with what is not printable escaped as Python writes it; spaces stay."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
