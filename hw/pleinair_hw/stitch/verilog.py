"""The header of a Verilog module: its ports and their widths.

A header is read with regular expressions, and a width is evaluated as a small constant expression. The subset read here
is what FINN's templates and our own blocks use, and everything outside it is refused with its text, so that a width is
never guessed. Yosys elaborates the same ports and widths for all 139 modules of an accelerator, as the tests check, but
builds do not wait for it: 0.4 s of processor time take the place of 0.3 s, and on a machine where it has not run yet it
first compiles itself for 82 s.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from math import ceil, log2

from pleinair_hw.stitch import StitchError


def _clog2(value: int) -> int:
    return ceil(log2(value)) if value > 1 else 0


_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class Module:
    """A Verilog module's name, ports and parameters, read from its ANSI header.

    Widths are constant expressions of integers and parameters; they are evaluated when asked for.
    """

    def __init__(self, name: str, text: str) -> None:
        text = re.sub(r"//[^\n]*|/\*.*?\*/|\(\*\s.*?\*\)", " ", text, flags=re.S)
        found = re.search(rf"\bmodule\s+{re.escape(name)}\b(.*?)\bendmodule\b", text, re.S)
        if found is None:
            raise StitchError(f"no source declares the module {name}")
        self.name = name
        body = found.group(1).lstrip()
        if body.startswith("#"):
            body = body[_closing(body, body.index("(")) + 1 :].lstrip()
        if not body.startswith("("):
            raise StitchError(f"module {name}: its ports are not declared in its header")
        header = body[1 : _closing(body, 0)]
        self.parameters = {
            match[1]: match[2].strip()
            for match in re.finditer(
                r"\b(?:parameter|localparam)\s+(?:[\w ]+\s)?(\w+)\s*=\s*(.*?)(?=;|,\s*(?:\n|\w)|\n\s*\)\s*\()",
                found.group(1),
                re.S,
            )
        }
        self.ports: dict[str, tuple[str, str]] = {}  # name: direction, range
        direction = extent = ""
        for item in _split(header):
            match = re.fullmatch(
                r"(?:(input|output)\s+)?(?:(?:wire|reg|logic|uwire)\b\s*)?(\[[^\]]*\]\s*)?(\w+)", item.strip()
            )
            if match is None or not (match[1] or direction):
                raise StitchError(f"module {name}: the port {item.strip()!r} is not understood")
            if match[1]:
                direction, extent = match[1], match[2] or ""
            self.ports[match[3]] = (direction, extent.strip())

    def width(self, port: str) -> int:
        """Bits of a port."""
        extent = self.ports[port][1]
        if not extent:
            return 1
        high, low = extent.strip("[]").split(":")
        return self._value(high) - self._value(low) + 1

    def _value(self, expression: str) -> int:
        python = f"({expression.strip()})".replace("/", "//").replace("$clog2", "_clog2")
        python = re.sub(r"\(([^()?]+)\?([^()?:]+):([^()?]+)\)", r"(\2 if \1 else \3)", python)
        try:
            return self._evaluate(ast.parse(python).body[0])
        except (SyntaxError, KeyError, RecursionError) as error:
            raise StitchError(f"module {self.name}: the width {expression.strip()!r} is not understood") from error

    def _evaluate(self, node: ast.AST) -> int:
        match node:
            case ast.Expr(value=value):
                return self._evaluate(value)
            case ast.Constant(value=int(value)):
                return value
            case ast.Name(id=name):
                return self._value(self.parameters[name])
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATORS[type(op)](self._evaluate(left), self._evaluate(right))
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                return int(self._evaluate(left) == self._evaluate(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._evaluate(body if self._evaluate(test) else orelse)
            case ast.Call(func=ast.Name(id="_clog2"), args=[argument]):
                return _clog2(self._evaluate(argument))
        raise KeyError(node)


def _closing(text: str, start: int) -> int:
    """The place of the bracket that closes the one at ``start``."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise StitchError("a module's header has no end")


def _split(text: str) -> list[str]:
    """``text`` at its commas outside brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in (*parts, text[start:]) if part.strip()]
