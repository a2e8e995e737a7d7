"""Steps that wait for others: their order, what is lost, what fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pleinair.errors import FarmError, TrainingError
from pleinair.farm.steps import Step, run_steps
from tests.farms import Died, Village, honest

STEPS = [Step("a", 1), Step("b", 2, ("a",)), Step("c", 3), Step("d", 4, ("b", "c")), Step("e", 5, ("c",))]


def village(**settings: Any) -> Village:
    """Two workers."""
    return Village({"anna": honest, "bert": honest}, **settings)


@pytest.mark.parametrize("seed", range(5))
def test_a_step_begins_when_those_before_it_are_done(seed):
    begun: list[int] = []

    def work(job: int, fetch: Callable[[], None]) -> int:
        begun.append(job)
        return job * job

    seen: list[dict[str, str]] = []
    results = run_steps(village(seed=seed), work, STEPS, beat=lambda states: seen.append(dict(states)))
    assert {name: result.value for name, result in results.items()} == {"a": 1, "b": 4, "c": 9, "d": 16, "e": 25}
    assert begun.index(1) < begun.index(2) < begun.index(4) and begun.index(3) < begun.index(4)
    assert set(seen[-1].values()) == {"done"}


def test_a_lost_step_is_begun_again():
    lives = {1: 0, 4: 0}

    def work(job: int, fetch: Callable[[], None]) -> int:
        if job in lives and lives[job] < 3:
            lives[job] += 1
            raise Died
        return job

    told: list[str] = []
    assert len(run_steps(village(), work, STEPS, tell=told.append)) == 5
    assert lives == {1: 3, 4: 3} and told.count("a: lost with its worker, and begun again") == 3


def test_a_step_that_kills_every_worker_fails():
    def work(job: int, fetch: Callable[[], None]) -> int:
        raise Died

    with pytest.raises(FarmError, match=r"1 of 1 steps failed; the first: a: lost 5 times"):
        run_steps(village(), work, STEPS[:1])


def test_what_fails_takes_with_it_what_waits_for_it_and_nothing_else():
    done: list[str] = []

    def work(job: int, fetch: Callable[[], None]) -> int:
        if job == 2:
            raise TrainingError("photo 3: damaged")
        return job

    with pytest.raises(FarmError, match="2 of 5 steps failed; the first: b: a worker at 10.0.0.1: photo 3: damaged"):
        run_steps(village(), work, STEPS, done=lambda name, result: done.append(name))
    assert sorted(done) == ["a", "c", "e"]
