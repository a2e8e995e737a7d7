"""The search: the cheapest plan that reaches a rate, and the fastest plan that a board holds.

Every convolution takes the form (``pleinair_hw.plan.dataflow``) that costs the smallest share of the board. What is
cheap depends on what the board runs out of first, so several prices of a DSP are tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pleinair.errors import OptionError, PleinairError
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, Upsample
from pleinair_hw.plan.boards import Board
from pleinair_hw.plan.dataflow import Form, build_dataflow, possible_forms
from pleinair_hw.plan.folding import fold
from pleinair_hw.plan.plan import BUDGET, PLAIN, BuildOptions, Folding, Plan, place_memories, share_of, shell
from pleinair_hw.plan.resources import NAMES

#: Targets around the fastest that are tried too, and the share of its rate that they must keep.
_NEARLY = (1.003, 1.007, 1.011, 1.015)
_WORTH = 0.985
#: Shares of the cycles allowed that are tried where a plan for all of them does not fit.
_HASTE = (0.9, 0.8, 0.65, 0.5)
#: Shares of the cycles of the fastest plan found that are tried beyond it, for the same reason.
_LEAPS = (0.5, 0.6, 0.7, 0.8, 0.9)
#: Prices of DSPs against all else.
_DSP_PRICES = (1.0, 4.0, 0.25)
#: A target in cycles that every stage meets.
_UNHURRIED = 1 << 62


class DoesNotFitError(PleinairError):
    """A network at that size and rate is more than the board holds; the message says what binds and what fits."""


def choose_forms(
    network: IntegerNetwork,
    height: int,
    width: int,
    board: Board,
    target: int,
    *,
    dsp_price: float = 1.0,
    options: BuildOptions = PLAIN,
) -> dict[str, Form]:
    """The cheapest form of every convolution that meets ``target`` cycles a frame."""
    every: tuple[Form, ...] = ("direct", "taps", "phases")
    layers = network.layers
    allowed: dict[str, tuple[Form, ...]] = {}
    for number, layer in enumerate(layers):
        upsampled = number > 0 and isinstance(layers[number - 1], Upsample)
        if isinstance(layer, Convolution):
            allowed[layer.name] = possible_forms(layer, upsampled)
        elif isinstance(layer, Residual):
            allowed.update({c.name: possible_forms(c, False) for c in layer.body})
    costs: dict[str, list[tuple[bool, float, Form]]] = {name: [] for name in allowed}
    for form in every:
        forms = {name: form for name, possible in allowed.items() if form in possible}
        stages = fold(
            build_dataflow(network, height, width, forms, trimmed=options.trimmed),
            board,
            target,
            options=options,
            dsp_price=dsp_price,
        )
        for name in forms:
            own = [s for s in stages if s.layer == name]
            late = any(s.cycles > target for s in own)
            costs[name].append((late, sum(share_of(s.total, board, dsp_price) for s in own), form))
    return {name: min(prices)[2] for name, prices in costs.items()}


def centred(network: IntegerNetwork, forms: Mapping[str, Form]) -> dict[str, Form]:
    """These forms, with the direct first convolutions of residual blocks centred."""
    heads = [layer.body[0] for layer in network.layers if isinstance(layer, Residual)]
    names = {c.name for c in heads if "centred" in possible_forms(c, False, heads_block=True)}
    return {name: "centred" if form == "direct" and name in names else form for name, form in forms.items()}


def plan_for_cycles(
    network: IntegerNetwork,
    height: int,
    width: int,
    board: Board,
    target: int,
    *,
    clock_hz: float | None = None,
    options: BuildOptions = PLAIN,
    forms: Mapping[str, Form] | None = None,
) -> Plan:
    """The cheapest plan of at most ``target`` cycles a frame where parallelism allows it; it may be over budget.

    Residual blocks are centred, all of them, where the plan is over budget without and emptier with.

    Args:
        height, width: of the frame with its margin, in pixels.
        clock_hz: of the accelerator; the board's own when None.
        forms: the form of every convolution; chosen when None.
    """

    def attempt(chosen: Mapping[str, Form], dsp_price: float) -> Plan:
        dataflow = build_dataflow(network, height, width, chosen, trimmed=options.trimmed)
        stages = fold(dataflow, board, target, options=options, dsp_price=dsp_price)
        slowest = max(s.cycles for s in stages)
        if slowest < target:
            # No other stage need be faster than the slowest has become.
            stages = fold(dataflow, board, slowest, options=options, dsp_price=dsp_price)
        stages = place_memories(stages, board, shell(dataflow, stages, board, options))
        return Plan(board, dataflow, tuple(stages), clock_hz or board.clock_hz, dict(chosen), options)

    best: Plan | None = None
    for dsp_price in _DSP_PRICES:
        if forms is None:
            chosen = choose_forms(network, height, width, board, target, dsp_price=dsp_price, options=options)
        else:
            chosen = dict(forms)
        plans = [attempt(chosen, dsp_price)]
        if forms is None and {"bram", "lutram"} & set(plans[0].over):
            plans.append(attempt(centred(network, chosen), dsp_price))
        plan = min(plans, key=lambda p: p.fullest)
        if best is None or plan.fullest < best.fullest:
            best = plan
        if not plan.over:
            break
    assert best is not None
    return best


def plan_with_folding(
    network: IntegerNetwork,
    height: int,
    width: int,
    board: Board,
    folding: Folding,
    forms: Mapping[str, Form],
    *,
    clock_hz: float | None = None,
    options: BuildOptions = PLAIN,
) -> Plan:
    """A plan with somebody's folding; what ``folding`` leaves out is as slow as the slowest stage allows.

    Raises OptionError for a stage that does not exist, or for parallelism that does not divide.
    """
    dataflow = build_dataflow(network, height, width, forms, trimmed=options.trimmed)
    # A first pass with no target shows the names and what the stages of ``folding`` can do.
    relaxed = fold(dataflow, board, _UNHURRIED, options=options, folding=folding)
    unknown = set(folding) - {s.name for s in relaxed}
    if unknown:
        there = ", ".join(s.name for s in relaxed)
        raise OptionError(f"is refused: no stage {sorted(unknown)[0]}; there are {there}", option="folding")
    target = max(s.cycles for s in relaxed if s.name in folding) if folding else _UNHURRIED
    stages = fold(dataflow, board, target, options=options, folding=folding)
    stages = place_memories(stages, board, shell(dataflow, stages, board, options))
    for number, s in enumerate(stages):
        style = folding.get(s.name, {}).get("ram_style")
        if style is not None and s.memory is not None:
            if style not in s.memory.cost:
                allowed = ", ".join(s.memory.cost)
                raise OptionError(f"is refused: ram_style {style} of {s.name}: allowed are {allowed}", option="folding")
            stages[number] = replace(s, memory=replace(s.memory, style=str(style)))
    return Plan(board, dataflow, tuple(stages), clock_hz or board.clock_hz, dict(forms), options)


def fastest_plan(
    network: IntegerNetwork,
    height: int,
    width: int,
    board: Board,
    *,
    clock_hz: float | None = None,
    options: BuildOptions = PLAIN,
) -> Plan:
    """The plan with the highest rate that the board holds. Raises DoesNotFitError when none fits."""

    def attempt(target: int) -> Plan:
        return plan_for_cycles(network, height, width, board, target, clock_hz=clock_hz, options=options)

    # One word a cycle is the limit: no stage is faster than the frame's pixels.
    best = attempt(height * width * 4096)
    if best.over:
        raise DoesNotFitError(
            f"{board.name}: not even one frame in {best.cycles / best.clock_hz:.1f} s fits: {binding(best)}; "
            "build for a smaller size, frames larger than that are painted in tiles"
        )

    def refined(low: int, best: Plan) -> Plan:
        """The fastest plan of more than ``low`` cycles that is found by halving; ``best`` fits."""
        high = best.cycles
        while high / low > 1.004:
            middle = math.isqrt(low * high)
            plan = attempt(middle)
            if plan.over or plan.cycles > middle:
                low = middle
            else:
                best, high = plan, min(middle, plan.cycles)
        return best

    best = refined(height * width, best)
    for share in _LEAPS:
        target = int(best.cycles * share)
        plan = attempt(target)
        if plan.cycles <= target and not plan.over:
            best = refined(int(0.9 * plan.cycles), plan)
            break
    # The last per cent can be dear: among the plans hardly slower, take the one that leaves the board emptiest.
    nearly = [attempt(int(best.cycles * share)) for share in _NEARLY]
    return min([best, *(p for p in nearly if p.fps >= _WORTH * best.fps)], key=lambda p: p.fullest)


def binding(plan: Plan) -> str:
    """What is over its budget, in words."""
    over = plan.over
    if not over:
        fullest = max(plan.shares, key=lambda k: plan.shares[k] / BUDGET[k])
        return f"{NAMES[fullest]} at {plan.shares[fullest]:.0%}"
    return ", ".join(
        f"{NAMES[k]} at {v:.0%} of the board (of which {BUDGET[k]:.0%} may be used)" for k, v in over.items()
    )


def plan_for_rate(
    network: IntegerNetwork,
    height: int,
    width: int,
    board: Board,
    fps: float,
    *,
    clock_hz: float | None = None,
    options: BuildOptions = PLAIN,
) -> Plan:
    """The cheapest plan of at least ``fps`` frames a second.

    Raises DoesNotFitError, which says what binds and the best rate that fits.
    """
    clock = clock_hz or board.clock_hz
    target = int(clock / fps)
    plan = plan_for_cycles(network, height, width, board, target, clock_hz=clock, options=options)
    for share in _HASTE:
        # Wider memories are shallower, so that a faster plan can fit where a slower one does not.
        if plan.over and plan.cycles <= target:
            hasty = plan_for_cycles(network, height, width, board, int(target * share), clock_hz=clock, options=options)
            plan = plan if hasty.over or hasty.cycles > target else hasty
    if plan.cycles <= target and not plan.over:
        return plan
    reason = binding(plan) if plan.over else f"stage {plan.slowest.name} needs {plan.cycles} cycles, {target} allowed"
    best = fastest_plan(network, height, width, board, clock_hz=clock, options=options)
    raise DoesNotFitError(
        f"{fps:g}: does not fit {board.name} at {clock / 1e6:g} MHz: {reason}; the best that fits is {best.fps:.2f}",
        option="fps",
    )
