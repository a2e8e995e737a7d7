"""Where the time goes within a graph in ONNX Runtime: its own profile, added up by operator and by node."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What the profile calls one run of a session, and how it names what a node computed.
_RUN, _KERNEL = "model_run", "_kernel_time"


@dataclass(frozen=True)
class Cost:
    """What runs take of one node (or of all of an operator, with an empty name): ``ms`` a run, ``share`` of the sum.

    ``nodes``: how many nodes that is.
    """

    operator: str
    name: str
    ms: float
    share: float
    nodes: int = 1


@dataclass(frozen=True)
class Profile:
    """``operators`` and ``nodes``, the costliest first; ``ms``: their sum, of one run, means over ``runs``.

    ``pieces``: in so many pieces, all run for themselves, the frame was painted; this is one of them.
    """

    ms: float
    runs: int
    operators: tuple[Cost, ...]
    nodes: tuple[Cost, ...]
    pieces: int = 1


def read_profile(events: Iterable[Mapping[str, Any]], runs: int) -> Profile:
    """Add up the events of the last ``runs`` runs in ONNX Runtime's profile: what comes before them is warm-up.

    What a node spends in a graph within it (a Scan's body) counts for the nodes there alone.
    """
    timed = sorted((e for e in events if "dur" in e), key=lambda e: (e["ts"], -e["dur"]))
    begins = [e["ts"] for e in timed if e.get("name") == _RUN][-runs]
    spent: dict[tuple[str, str], float] = {}
    around: list[tuple[float, tuple[str, str]]] = []  # the nodes that the latest event lies in: their ends, and keys
    for e in timed:
        name = str(e.get("name", ""))
        if e.get("cat") != "Node" or not name.endswith(_KERNEL) or e["ts"] < begins:
            continue
        key = str(e["args"]["op_name"]), name.removesuffix(_KERNEL)
        while around and around[-1][0] < e["ts"] + e["dur"]:
            around.pop()
        if around:
            spent[around[-1][1]] -= e["dur"]
        spent[key] = spent.get(key, 0.0) + e["dur"]
        around.append((e["ts"] + e["dur"], key))
    spent = {key: microseconds / 1e3 / runs for key, microseconds in spent.items()}
    whole = sum(spent.values())
    nodes = [Cost(operator, name, ms, ms / whole) for (operator, name), ms in spent.items()]
    operators = []
    for operator in {cost.operator for cost in nodes}:
        own = [cost.ms for cost in nodes if cost.operator == operator]
        operators.append(Cost(operator, "", sum(own), sum(own) / whole, len(own)))

    def ordered(costs: list[Cost]) -> tuple[Cost, ...]:
        return tuple(sorted(costs, key=lambda cost: (-cost.ms, cost.operator, cost.name)))

    return Profile(whole, runs, ordered(operators), ordered(nodes))


def profile_run(compile_with: Callable[[str], Callable[[], object]], runs: int, warmup: int = 2) -> Profile:
    """Profile what ``compile_with(prefix)`` makes: a call that runs a session whose profile goes to ``prefix``*.json.

    ONNX Runtime writes the profile when the session is dropped, so the call must hold the only reference to it.
    """
    with tempfile.TemporaryDirectory(prefix="pleinair-profile-") as folder:
        run = compile_with(str(Path(folder) / "profile"))
        for _ in range(warmup + runs):
            run()
        del run
        (written,) = Path(folder).glob("profile*.json")
        events = json.loads(written.read_text())
    return read_profile(events, runs)
