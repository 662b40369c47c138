"""Results of the deviation probes for random logits instead of a model's: small, but every cosine and KL is computed."""

import numpy as np
import torch

from measures.deviation import HIDDEN, LOGITS, hidden_deviation, logit_deviation
from probes.choice.choice_subspace import ChoiceResult, deviations
from probes.choice.choices import choices
from probes.deviation.comparison import QUANTILES, Deviation
from probes.deviation.continuations import MEASURES, spread
from probes.deviation.generation_drift import DriftResult
from probes.deviation.transitions import TransitionsResult
from texts.items import Item

_WIDTH, _VOCAB = 16, 30
ITEMS = (
    Item("The capital of <b>France</b> is", ("Paris", "Rome", "Oslo"), 0, "facts"),
    Item("Two and two is", ("five", "four"), 1, "arithmetic"),
    Item("Which of these flies?", ("a stone", "a bird", "a $2 house"), 1, "common sense"),
    Item("She", ("sings", "sing"), 0, "grammar"),
)


def _states(random: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(random.normal(size=shape))


def _deviation(random: np.random.Generator, sizes: list[float], tokens: int = 12) -> Deviation:
    """One layer per size of the disturbance; a size of 0 changes nothing."""
    measured, tops, chances = [], [], []
    for size in sizes:
        h, z = _states(random, tokens, _WIDTH), _states(random, tokens, _VOCAB)
        changed = z + 8 * size * _states(random, tokens, _VOCAB)
        measured.append(hidden_deviation(h, h + size * _states(random, tokens, _WIDTH)) | logit_deviation(z, changed))
        best = [each[0].softmax(-1).topk(5) for each in (z, changed)]
        tops.append(torch.stack([each.indices for each in best]).numpy())
        chances.append(torch.stack([each.values for each in best]).numpy())
    kept = {name: np.stack([row[name].numpy() for row in measured]) for name in (*HIDDEN, *LOGITS)}
    return Deviation(
        **{name: each.mean(-1).tolist() for name, each in kept.items()},
        **{
            f"{name}_spread": np.quantile(kept[name], QUANTILES, axis=-1).T
            for name in ("h_cosine", "z_cosine", "p_cosine", "kl")
        },
        top_tokens=np.stack(tops),
        top_probabilities=np.stack(chances),
        top_pieces=[[[f"w{int(token)}" for token in side] for side in layer] for layer in np.stack(tops)],
    )


def moved(layers: int = 4, size: float = 0.02, mode: str = "dropped", seed: int = 0) -> TransitionsResult:
    """What the transitions probe would say of a plan that begins to change things in layer 1, more with every layer."""
    random = np.random.default_rng(seed)
    grown = [0.0, 0.0, *(size * (i + 1) for i in range(layers - 1))]
    alone = [size] * layers
    return TransitionsResult(
        layers=layers,
        tokens=12,
        temperature=1.0,
        mode=mode,
        parallel=False,
        attention=_deviation(random, alone),
        mlp=_deviation(random, [2 * each for each in alone]),
        raw_attention=_deviation(random, alone),
        raw_mlp=_deviation(random, alone),
        cumulative=_deviation(random, grown[: layers + 1]),
        output_turn=np.full(8, size**2 / 2),
    )


def drifted(steps: int = 8, lengths: tuple[int, ...] = (8, 5, 8), size: float = 0.3, seed: int = 0) -> DriftResult:
    """What the generation drift probe would say; the texts are words of the alphabet, the second prompt ends early."""
    random = np.random.default_rng(seed)
    prompts, none = len(lengths), np.full((len(lengths), steps), np.nan)
    measures = {name: none.copy() for name in MEASURES}
    dense_top, top = (np.full((prompts, steps, 5), -1) for _ in range(2))
    dense_chance, chance = (np.full((prompts, steps, 5), np.nan) for _ in range(2))
    own, dense_own, rank = none.copy(), none.copy(), np.full((prompts, steps), -1)
    for row, length in enumerate(lengths):
        h, z = _states(random, length, _WIDTH), 3 * _states(random, length, _VOCAB)
        changed = z + size * torch.arange(1, length + 1)[:, None] * _states(random, length, _VOCAB)
        found = hidden_deviation(h, h + size * _states(random, length, _WIDTH)) | logit_deviation(z, changed)
        for name in MEASURES:
            measures[name][row, :length] = found[name]
        p, q = z.softmax(-1), changed.softmax(-1)
        for logits, ids, chances in ((p, dense_top, dense_chance), (q, top, chance)):
            best = logits.topk(5)
            ids[row, :length], chances[row, :length] = best.indices, best.values
        chosen = p.argmax(-1, keepdim=True)
        dense_own[row, :length], own[row, :length] = p.gather(-1, chosen)[:, 0], q.gather(-1, chosen)[:, 0]
        rank[row, :length] = (q > q.gather(-1, chosen)).sum(-1)
    dense_ids, ids = dense_top[..., 0], top[..., 0]
    return DriftResult(
        prompts=[f"prompt <{i}>" for i in range(prompts)],
        prompt_tokens=[4] * prompts,
        chat=False,
        temperature=1.0,
        dense_ids=dense_ids,
        ids=ids,
        dense_pieces=[[word(each) for each in row if each >= 0] for row in dense_ids],
        pieces=[[word(each) for each in row if each >= 0] for row in ids],
        dense_texts=["".join(word(each) for each in row if each >= 0) for row in dense_ids],
        texts=["".join(word(each) for each in row if each >= 0) for row in ids],
        dense_ended=[length < steps for length in lengths],
        ended=[length < steps for length in lengths],
        forced=measures,
        forced_spread={name: spread(each) for name, each in measures.items()},
        running=[sum(length > i for length in lengths) for i in range(steps)],
        dense_probability=dense_own,
        probability=own,
        rank=rank,
        dense_top_ids=dense_top,
        top_ids=top,
        dense_top_probability=dense_chance,
        top_probability=chance,
        dense_top_pieces=[[[word(id) for id in step] for step in row[:n]] for row, n in zip(dense_top, lengths, strict=True)],
        top_pieces=[[[word(id) for id in step] for step in row[:n]] for row, n in zip(top, lengths, strict=True)],
        free=measures,
        free_spread={name: spread(each) for name, each in measures.items()},
        free_running=[sum(length > i for length in lengths) for i in range(steps)],
        mixed=np.arange(steps) > np.full((prompts, 1), steps // 2),
        divergence=[next((i for i in range(n) if a[i] != b[i]), None) for n, a, b in zip(lengths, dense_ids, ids, strict=True)],
        dense_length=list(lengths),
        length=list(lengths),
        dense_distinct=np.ones((prompts, 3)),
        distinct=np.full((prompts, 3), 0.5),
        dense_repetition=np.zeros(prompts),
        repetition=np.full(prompts, 0.25),
        rouge_l=np.full(prompts, 0.5),
    )


def word(token: int) -> str:
    """The text of a token; some are markup, some are hardly seen."""
    return {0: "<b>", 1: "\n", 2: "", 3: " &amp"}.get(int(token), f" w{int(token)}")


def chosen(size: float = 1.0, seed: int = 0, left_out: bool = True) -> ChoiceResult:
    """What the choice probe would say of four items; by text, the last one has no option subspace."""
    random = np.random.default_rng(seed)
    found = {}
    for way in ("letters", "texts"):
        rows = []
        for item in ITEMS:
            z = 2 * _states(random, _VOCAB)
            z[item.answer] += 3
            changed = z + size * _states(random, _VOCAB)
            options = None if left_out and way == "texts" and item is ITEMS[-1] else range(len(item.options))
            row = {name: value.item() for name, value in deviations(z, changed, options).items()}
            for name, logits in (("scores", changed), ("dense_scores", z)):
                row[name] = logits.log_softmax(-1)[: len(item.options)].tolist()
            rows.append(row)
        found[way] = choices(ITEMS, rows)
    return ChoiceResult(
        items=len(ITEMS),
        chance=float(np.mean([1 / len(item.options) for item in ITEMS])),
        temperature=1.0,
        questions=[item.question for item in ITEMS],
        categories=[item.category for item in ITEMS],
        options=[list(item.options) for item in ITEMS],
        answers=[item.answer for item in ITEMS],
        **found,
    )
