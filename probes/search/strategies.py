"""Ways to choose what to drop under a budget; each gives a plan for each share that is to be saved.

References
----------
arXiv 2410.14649 (EvoPress: swaps, selection in stages; its swaps stay within attention or MLP, these trade one for the other),
2406.15786 (one-shot by similarity), 2403.17887 (consecutive spans), 2402.09025 (SLEB: greedy), 2403.03853 (one-shot).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

from plans.drops import Drops, dropped
from plans.plan import Plan, parse
from probes.search.budget import Budget
from probes.search.measured import Measured
from refusal import Refusal

Step = Callable[[str], None]  # is told what begins
_FIRST = 4  # offspring or spans that are looked at on every window, of those looked at on one


@dataclass(frozen=True, eq=False)
class Field:
    """What every strategy has: the budget, the plans measured, the windows to choose on, and a source of chance.

    Attributes
    ----------
    shares : tuple of float
        Of the dense model, to be saved; rising.
    """

    budget: Budget
    measured: Measured
    windows: tuple[int, ...]
    shares: tuple[float, ...]
    generator: np.random.Generator
    step: Step

    def kl(self, plans: Sequence[Plan]) -> np.ndarray:
        """Mean KL of plans on the windows to choose on, float64 (plans,)."""
        return self.measured.of(plans, self.windows)[..., 0].mean(1)

    def best(self, plans: Sequence[Plan], window: int, keep: int = _FIRST) -> Plan:
        """The plan of least KL: all are looked at on one window, the first few of them on every window."""
        plans = list(dict.fromkeys(plans))
        if len(plans) > keep and len(self.windows) > 1:
            one = self.measured.of(plans, [window])[:, 0, 0]
            plans = [plans[i] for i in np.argsort(one, kind="stable")[:keep]]
        return plans[int(np.argmin(self.kl(plans)))]


def one_shot(field: Field, scores: Mapping[str, float]) -> list[Plan]:
    """In the order of a score, lowest first."""
    order = sorted(scores, key=lambda item: scores[item])
    return [field.budget.taken(order, share) for share in field.shares]


def span(field: Field) -> list[Plan]:
    """Blocks that follow each other: of every place they can have, the best."""
    layers, found = len(field.budget.attention), []
    for share in field.shares:
        field.step(f"spans that save {share:.1%}")
        plans = [plan for plan in (_span(field, share, start, layers) for start in range(layers)) if plan is not None]
        if not plans:
            raise Refusal(field.budget.too_much(share))
        found.append(field.best(plans, field.windows[0]))
    return found


def _span(field: Field, share: float, start: int, layers: int) -> Plan | None:
    for stop in range(start + 1, layers + 1):
        plan = field.budget.base | Plan((Drops(blocks=frozenset(range(start, stop))),))
        if field.budget.met(plan, share):
            return plan
    return None


def balanced(field: Field) -> list[Plan]:
    """Spread evenly over the depth; the first and last layer stay while there are others."""
    budget, last = field.budget, len(field.budget.attention) - 1
    inner = [item for item in budget.items if 0 < int(item[1:]) < last]
    outer = [item for item in budget.items if item not in inner]
    return [_even(budget, inner, outer, share) for share in field.shares]


def _even(budget: Budget, inner: list[str], outer: list[str], share: float) -> Plan:
    for count in range(len(inner) + 1):
        places = ((np.arange(count) + 0.5) * len(inner) / max(count, 1)).astype(int)
        plan = budget.base
        for item in (inner[place] for place in places):
            plan = plan | parse(item)
        if budget.met(plan, share):
            return plan
    return budget.taken([*inner, *outer], share)


def knapsack(field: Field, scores: Mapping[str, float]) -> list[Plan]:
    """The least sum of single scores that saves enough, exactly; how far a sum is from the truth is measured after it."""
    return [_knapsack(field.budget, scores, share) for share in field.shares]


def _knapsack(budget: Budget, scores: Mapping[str, float], share: float) -> Plan:
    items = list(scores)
    gains = np.array([budget.gain(budget.base, item) for item in items])
    layers = sorted({int(item[1:]) for item in items})
    both = "block" in budget.parts  # a block has a score of its own, so a layer's attention and MLP are not summed
    matrix = lil_array((1 + len(layers), len(items)))
    matrix[[0], :] = gains
    for column, item in enumerate(items):
        matrix[1 + layers.index(int(item[1:])), column] = 1 if both else 0
    lower = np.r_[budget.needed(share) - budget.saved(budget.base), np.full(len(layers), -np.inf)]
    found = milp(
        np.array([scores[item] for item in items]), integrality=np.ones(len(items)), bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix.tocsc(), lower, np.r_[np.inf, np.ones(len(layers))]),
    )  # fmt: skip
    if found.x is None:
        raise Refusal(budget.too_much(share))
    plan = budget.base
    for item, chosen in zip(items, found.x, strict=True):
        plan = plan | parse(item) if chosen > 0.5 else plan
    return plan


def greedy(field: Field, scores: Mapping[str, float], again: int) -> list[Plan]:
    """One drop at a time, each time the one that costs least for what it saves, measured on top of those before.

    Parameters
    ----------
    scores : mapping of str to float
        KL of single drops, by which the first round is chosen.
    again : int
        How many of the most promising are measured again in each round; 0: all.
    """
    budget, plan, found = field.budget, field.budget.base, []
    kl = float(field.kl([plan])[0])
    harm = {item: score - kl for item, score in scores.items()}  # how much each added when it was last measured
    for share in field.shares:
        while not budget.met(plan, share):
            left = sorted(budget.left(plan), key=lambda item: _price(harm[item], budget.gain(plan, item)))
            left = left[:again] if again else left
            if not left:
                raise Refusal(budget.too_much(share))
            field.step(f"greedy: {budget.saved(plan) / budget.total:.1%} of {field.shares[-1]:.1%} saved")
            found_kl = field.measured.with_each(plan, left, field.windows)[..., 0].mean(1)
            harm |= {item: value - kl for item, value in zip(left, found_kl, strict=True)}
            item = min(left, key=lambda item: _price(harm[item], budget.gain(plan, item)))
            plan, kl = plan | parse(item), kl + harm[item]
        found.append(plan)
    return found


def _price(harm: float, gain: float) -> float:
    """Harm for what is saved; a drop that does good is better the more it does, whatever it saves."""
    return harm / gain if harm > 0 else harm


def swaps(field: Field, starts: Sequence[Plan], generations: int, offspring: int) -> list[Plan]:
    """From a plan for each share, exchange one to three drops for others; what is better on every window is the next parent."""
    found = []
    for share, parent in zip(field.shares, starts, strict=True):
        for generation in range(generations):
            field.step(f"swaps at {share:.1%}: generation {generation + 1} of {generations}")
            children = [_swapped(field, parent, share) for _ in range(offspring)]
            window = field.windows[generation % len(field.windows)]
            parent = field.best([parent, field.best(children, window)], window)
        found.append(parent)
    return found


def _swapped(field: Field, parent: Plan, share: float) -> Plan:
    """A plan with some drops put back and others taken until it saves enough again; attention may go for MLP."""
    budget, chance = field.budget, field.generator
    mine = _items(parent - budget.base, budget.parts)
    if not mine:
        return parent
    count = min(len(mine), chance.integers(1, 4), chance.integers(1, 4))
    back = [mine[i] for i in chance.choice(len(mine), count, replace=False)]
    plan = parent
    for item in back:
        plan = plan - parse(item)
    plan = plan | budget.base
    others = [item for item in budget.left(plan) if item not in back]
    chance.shuffle(others)
    try:
        return budget.taken(others, share, plan)
    except Refusal:  # nothing else is left to exchange these for
        return parent


def _items(plan: Plan, parts: Sequence[str]) -> list[str]:
    """The drops of a plan one by one; a block is its two sublayers where only these may be dropped."""
    drops = dropped(plan)
    attention, mlp, blocks = (drops.attention, drops.mlp, drops.blocks)
    if "block" not in parts:
        attention, mlp, blocks = drops.no_attention, drops.no_mlp, frozenset()
    pairs = (("a", attention), ("m", mlp), ("b", blocks))
    return [f"{letter}{layer}" for letter, layers in pairs for layer in sorted(layers)]


def by_chance(field: Field, draws: int) -> list[list[Plan]]:
    """Plans drawn at random, for each share as many: what any choice should beat."""
    found = []
    for share in field.shares:
        orders = [field.generator.permutation(list(field.budget.items)).tolist() for _ in range(draws)]
        found.append([field.budget.taken(order, share) for order in orders])
    return found
