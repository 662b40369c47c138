"""Every probe says on the GPU what it says on the CPU, with every family; see `tests.gpu.bounds`."""

import pytest
import torch

from benchmarks.gpu.shapes import DEVICE
from refusal import Refusal
from tests.gpu.asked import CPU, NAMES, PLAN, ask, made, scored
from tests.gpu.bounds import BFLOAT16, FLOAT32, FLOAT32_OTHERS, SCORED, apart, beyond
from tests.models.tiny import TINY

# Routers are not among them: where two experts are nearly as good, half a bit sends a token to another one.
IN_BFLOAT16 = ("llama", "qwen3", "gemma2", "gpt2", "bloom", "falcon-7b", "phi")
MAY_REFUSE = {"low_rank_attention"}  # of attentions that cannot be replaced; whatever else refused would not be compared
LEARNING = ("a1,w:wanda@0.5", "w:sparsegpt@2:4", "w:magnitude@0.5/mlp", "k:0.5/0.5")


def both(name, ours, theirs, folder, plan=PLAN):
    """Both answers; None where both refuse in the same words."""
    said = []
    for subject in (ours, theirs):
        try:
            said.append(ask(name, subject, folder, plan))
        except Refusal as refused:
            said.append(str(refused))
    if isinstance(said[1], str):
        assert said[0] == said[1] and name in MAY_REFUSE, said
        return None
    return said


@pytest.mark.parametrize("family", TINY)
def test_every_probe_in_float32(family, tmp_path):
    ours, theirs = made(family), made(family, CPU)
    wrong = {}
    for name in NAMES:
        said = both(name, ours, theirs, tmp_path)
        if said and (found := beyond(name, *said, FLOAT32_OTHERS, FLOAT32)):
            wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize("family", IN_BFLOAT16)
def test_every_probe_in_bfloat16(family, tmp_path):
    half = torch.bfloat16
    ours, theirs = made(family, weights=half, dtype=half), made(family, CPU, weights=half)
    wrong = {}
    for name in NAMES:
        if said := both(name, ours, theirs, tmp_path):
            if name == "generation_drift":
                for each in said:
                    each.forced.update({key: values[:, :1] for key, values in each.forced.items()})
            if found := beyond(name, *said, BFLOAT16, None):
                wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize("plan", LEARNING)
@pytest.mark.parametrize("family", ["llama", "mixtral", "gpt2"])
def test_what_a_plan_learns(family, plan, tmp_path):
    """Learned on each device by itself, and then measured: two weights of equal score may be pruned the other way round."""
    said = both("fidelity", made(family), made(family, CPU), tmp_path, plan)
    assert said and beyond("fidelity", *said, {"fidelity.*": (0.02, "of two equal scores another one")}, None) == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", IN_BFLOAT16)
def test_what_tasks_are_told(family, dtype):
    """The harness itself computes nothing; `evaluate` tells it log-likelihoods."""
    ours, theirs = (scored(made(family, *where)) for where in ((DEVICE, dtype, dtype), (CPU, dtype)))
    assert apart([score for score, _ in ours], [score for score, _ in theirs]) <= SCORED[dtype]
