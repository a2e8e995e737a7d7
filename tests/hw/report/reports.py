"""Plans of small networks and their reports, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from pleinair.network.integer import Residual
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.plan import Plan
from pleinair_hw.plan.search import plan_for_cycles
from pleinair_hw.report.data import Report
from pleinair_hw.report.describe import describe
from tests.networks import random_network


@cache
def plan() -> Plan:
    """Width 4, two residual blocks, 96 x 64, on a board with UltraRAM."""
    return plan_for_cycles(random_network(3, width=4, blocks=2), 64, 96, BOARDS["kv260"], 40_000)


@cache
def short() -> Plan:
    """A residual block of one convolution, whose skip goes past its own row alone."""
    network = random_network(6, width=4, blocks=1, kernel=3)
    block = network.layers[3]
    assert isinstance(block, Residual)
    layers = (*network.layers[:3], Residual(block.body[1:]), *network.layers[4:])
    return plan_for_cycles(replace(network, layers=layers), 32, 32, BOARDS["zcu104"], 20_000)


@cache
def twice() -> Plan:
    """A plan in which widths change by way of a common multiple, in two converters."""
    plan = plan_for_cycles(random_network(3, width=12, blocks=1), 32, 32, BOARDS["zcu104"], 2000)
    assert sum(s.name.endswith(".width.up") for s in plan.stages) > 1
    return plan


@cache
def bare() -> Plan:
    """On a board without UltraRAM; 16 x 16, one block, kernels of 3 x 3."""
    network = random_network(4, width=4, blocks=1, kernel=3)
    return plan_for_cycles(network, 16, 16, BOARDS["pynq-z2"], 100_000)


PLANS = {"plan": plan, "short": short, "twice": twice, "bare": bare}


def report_of(plan: Plan, **more: Any) -> Report:
    """Its report, with a title and such."""
    options: dict[str, Any] = {"title": "A title", "bits": 8, "size": (80, 48), "margin": 8}
    return describe(plan, **(options | {"network_sha256": "ab" * 32} | more))
