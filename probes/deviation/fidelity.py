"""What a plan does to predictions: dense and pruned model on the same tokens, teacher-forced.

Both read the same text and predict each next token, so a distance is a distance and not a difference of trajectories.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from measures.divergence import kl
from measures.sums import Means
from measures.vectors import cosine_of, top_overlap
from models.subject import Subject
from plans.cut import Calibrated, cut
from plans.plan import Plan
from probes.base import NoParams, Probe
from refusal import Progress, Refusal, silent
from texts.corpus import Corpus

_CHUNK = 2**20  # logits compared at a time: 4 MB stay in the CPU's cache, and no memory is asked for anew
TOP = 5


@dataclass(frozen=True)
class FidelityResult:
    """Means over all predicted tokens; in each window the first token is given and the others are predicted.

    Attributes
    ----------
    tokens : int
        Predicted tokens.
    perplexity, dense_perplexity : float
        exp of the mean negative log-likelihood in nats, every token the same weight.
    kl, reverse_kl : float
        KL(dense‖pruned) and KL(pruned‖dense) in nats per token.
    logit_cosine, prob_cosine : float
        Mean cosine of the logit vectors and of the probability vectors.
    top1_agreement, top5_agreement : float
        How often the most likely token is the same; mean share of the five most likely ones that both have.
    token_kl, token_nll, dense_token_nll : float32 arrays of shape (windows, tokens - 1)
        KL(dense‖pruned) and negative log-likelihoods in nats at each predicted token: where it hurts.
    """

    tokens: int
    perplexity: float
    dense_perplexity: float
    kl: float
    reverse_kl: float
    logit_cosine: float
    prob_cosine: float
    top1_agreement: float
    top5_agreement: float
    token_kl: np.ndarray
    token_nll: np.ndarray
    dense_token_nll: np.ndarray


def compare(dense: Tensor, pruned: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Measures of two logit tensors of shape (tokens, vocab) against the tokens that follow; one value per token."""
    dense, pruned = dense.float(), pruned.float()
    log_p, log_q = dense.log_softmax(-1), pruned.log_softmax(-1)
    return {
        "nll": -log_q.gather(-1, targets[:, None])[:, 0].double(),
        "dense_nll": -log_p.gather(-1, targets[:, None])[:, 0].double(),
        "kl": kl(log_p, log_q),
        "reverse_kl": kl(log_q, log_p),
        "logit_cosine": cosine_of(dense, pruned),
        "prob_cosine": cosine_of(log_p.exp(), log_q.exp()),
        "top1": (dense.argmax(-1) == pruned.argmax(-1)).double(),
        "top5": top_overlap(dense, pruned, min(TOP, dense.shape[-1])),
    }


def _run(
    subject: Subject, corpus: Corpus, plan: Plan | Calibrated, params: NoParams, progress: Progress = silent
) -> FidelityResult:
    dense, pruned = (cut(subject, each) for each in (Plan(), plan))
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    means, per_token = Means(), {"kl": [], "nll": [], "dense_nll": []}
    for i, window in enumerate(tokens):
        progress(i, len(tokens), f"window {i + 1} of {len(tokens)}")
        both = [view.logits(window[None])[0, :-1] for view in (dense, pruned)]
        _refuse_nan(*both)
        parts = []
        rows = max(1, _CHUNK // both[0].shape[-1])
        for begin in range(0, len(window) - 1, rows):
            part = slice(begin, begin + rows)
            parts.append(compare(both[0][part], both[1][part], window[1:][part].to(both[0].device)))
            means.add(**parts[-1])
        for name, rows in per_token.items():
            rows.append(torch.cat([part[name] for part in parts]).float().cpu().numpy())
    mean = {name: float(means.read(name)) for name in parts[-1]}
    return FidelityResult(
        tokens=int(tokens[:, 1:].numel()),
        perplexity=_exp(mean["nll"]),
        dense_perplexity=_exp(mean["dense_nll"]),
        top1_agreement=mean["top1"],
        top5_agreement=mean["top5"],
        **{name: mean[name] for name in ("kl", "reverse_kl", "logit_cosine", "prob_cosine")},
        token_kl=np.stack(per_token["kl"]),
        token_nll=np.stack(per_token["nll"]),
        dense_token_nll=np.stack(per_token["dense_nll"]),
    )


def _refuse_nan(dense: Tensor, pruned: Tensor) -> None:
    for logits, name in ((dense, "dense"), (pruned, "pruned")):
        if not logits.isfinite().all():
            raise Refusal(
                f"The {name} model's logits are not numbers (NaN or infinite), so nothing can be measured. Load the "
                "model in float32 or bfloat16; float16 overflows in many models."
            )


def _exp(nll: float) -> float:
    """exp, or infinity where it does not fit in a float64."""
    return math.exp(nll) if nll < 700 else math.inf


PROBE = Probe("fidelity", "What a plan does to predictions", 1, NoParams, FidelityResult, _run, takes_plan=True)
