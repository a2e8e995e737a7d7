"""Long pieces of work on a cluster, some of which wait for others: trainings, for one.

A step's worker may die at any moment; the step is begun again elsewhere, and it is the step's own business to go on
where it was. A step that fails takes with it those that wait for it; all others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pleinair.errors import FarmError
from pleinair.farm.cluster import Cluster, LostError, Result

#: How often a step may be lost with its worker, beside what the cluster itself begins again.
_CHANCES = 5
#: Seconds between two looks at how far steps are.
_BEAT = 1.0


@dataclass(frozen=True)
class Step:
    """A piece of work, ``job``, that begins when the steps named in ``after`` are done."""

    name: str
    job: Any
    after: tuple[str, ...] = ()


def run_steps(
    cluster: Cluster,
    function: Callable[..., Any],
    steps: Sequence[Step],
    *,
    cores: int = 1,
    gpus: int = 0,
    beat: Callable[[Mapping[str, str]], None] = lambda states: None,
    done: Callable[[str, Result], None] = lambda name, result: None,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Result]:
    """Run ``function(job, fetch)`` for each step on some worker; what each gave, by name.

    Each takes so many cores and GPUs. ``beat`` is called about once a second with what each step is: waiting, begun,
    done, lost or failed; ``done`` when one is done. Raises FarmError, when all that could be done is done, where a step
    failed.
    """
    states = {step.name: "waiting" for step in steps}
    results, failures, losses = dict[str, Result](), dict[str, str](), dict[str, int]()
    tasks, shared = dict[Any, Step](), cluster.keep(None)

    def begin(step: Step) -> None:
        task = cluster.submit(function, step.job, shared, cores=cores, gpus=gpus, name=step.name)
        tasks[task], states[step.name] = step, "begun"

    try:
        while True:
            for step in steps:
                if states[step.name] != "waiting":
                    continue
                if any(states[name] == "failed" for name in step.after):
                    states[step.name] = "failed"
                elif all(states[name] == "done" for name in step.after):
                    begin(step)
            if not tasks:
                break
            for task in cluster.ready(list(tasks), _BEAT):
                step = tasks.pop(task)
                try:
                    results[step.name] = cluster.result(task)
                except LostError as error:
                    losses[step.name] = losses.get(step.name, 0) + 1
                    if losses[step.name] < _CHANCES:
                        tell(f"{step.name}: lost with its worker, and begun again")
                        begin(step)
                        continue
                    failures[step.name], states[step.name] = f"lost {_CHANCES} times: {error}", "failed"
                except FarmError as error:
                    failures[step.name], states[step.name] = str(error), "failed"
                    tell(f"{step.name}: {error}")
                else:
                    states[step.name] = "done"
                    done(step.name, results[step.name])
            beat(states)
    finally:
        for task in tasks:
            cluster.cancel(task)
    if failures:
        failed = sum(state == "failed" for state in states.values())
        first = next(iter(failures))
        raise FarmError(f"{failed} of {len(steps)} steps failed; the first: {first}: {failures[first]}")
    return results
