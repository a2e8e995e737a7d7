"""What a simulation does at an AXI-lite port while streams flow: a script, one line after the other.

Each line is done when its transfer has been answered or what it waits for has come; then it has a :class:`Reply`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: The responses of AXI.
OKAY, SLVERR = 0, 2


@dataclass(frozen=True)
class Reply:
    """The answer to a line: the AXI response, and the data that was read; for a line without a transfer the cycle."""

    response: int
    data: int

    @classmethod
    def of(cls, number: int) -> Reply:
        """From the harness's number."""
        return cls(number >> 32, number & 0xFFFFFFFF)


@dataclass
class Script:
    """Lines for the harness. Each method adds one and gives its number, which is its reply's."""

    lines: list[str] = field(default_factory=list)

    def _add(self, kind: str, *numbers: int) -> int:
        a, b, c = (*numbers, 0, 0, 0)[:3]
        self.lines.append(f"{kind} {a} {b} {c}")
        return len(self.lines) - 1

    def write(self, address: int, data: int, strobes: int = 15) -> int:
        """Write a word of 32 bits; negative ones in two's complement."""
        return self._add("w", address, data & 0xFFFFFFFF, strobes)

    def read(self, address: int) -> int:
        """Read a word."""
        return self._add("r", address)

    def poll(self, address: int, mask: int, value: int) -> int:
        """Read a word until it is ``value`` where ``mask`` has ones, or an error."""
        return self._add("p", address, mask, value)

    def allow(self, words: int, stream: int = 0) -> int:
        """Let an input offer this many words, counted from the first; without such a line it offers all."""
        return self._add("a", stream, words)

    def wait_input(self, words: int, stream: int = 0) -> int:
        """Wait until this many of an input's words have been taken."""
        return self._add("i", stream, words)

    def wait_output(self, words: int, stream: int = 0) -> int:
        """Wait until an output has given this many words."""
        return self._add("o", stream, words)

    def wait(self, cycles: int) -> int:
        """Wait for some cycles."""
        return self._add("c", cycles)

    def text(self) -> str:
        """What the harness reads."""
        return "".join(f"{line}\n" for line in self.lines)
