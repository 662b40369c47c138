"""A model laid over GPU and CPU memory: every operation and the probes that read the stream say what they always say."""

import pytest
import torch
from accelerate import dispatch_model

from benchmarks.gpu.shapes import DEVICE
from plans.cut import cut
from refusal import Refusal
from tests.gpu.asked import CPU, NAMES, ask, learned, made
from tests.gpu.bounds import FLOAT32, FLOAT32_OTHERS, beyond
from tests.models.tiny import tokens
from tests.plans.contract import TEXTS
from tests.probes.subjects import subject_of

FAMILIES = ("llama", "gpt2", "gemma2", "mixtral")
AWAY = "cpu" if DEVICE.type == "cuda" else "disk"  # where the weights of the upper blocks are
WEIGHTS_INSIDE = "only weights inside can be pruned"  # what pruning says of weights that are fetched when they are needed


def split(family, folder):
    """A tiny subject whose blocks from the third on are kept away from the device, as accelerate does it."""
    whole = made(family, CPU)
    path, places = whole.family.layers.split("."), {}
    module, prefix = whole.model, ""
    for part in path:
        places |= {f"{prefix}{name}": DEVICE.type for name, _ in module.named_children() if name != part}
        module, prefix = module.get_submodule(part), f"{prefix}{part}."
    places |= {f"{prefix}{layer}": DEVICE.type if layer < 2 else AWAY for layer in range(len(module))}
    places = {name: 0 if place == "cuda" else place for name, place in places.items()}
    main = 0 if DEVICE.type == "cuda" else "cpu"
    model = dispatch_model(whole.model, places, main_device=main, offload_dir=str(folder), force_hooks=True)
    return subject_of(model, whole.tokenizer)


def said(subject, text):
    """The logits of a plan, or why there are none."""
    try:
        return cut(subject, learned(subject, text)).logits(tokens(1, 12).to(subject.device)).float().cpu()
    except Refusal as refused:
        return str(refused)


@pytest.mark.parametrize("text", [text for texts in TEXTS.values() for text in texts])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_operation(family, text, tmp_path):
    found, expected = said(split(family, tmp_path), text), said(made(family, CPU), text)
    if text.startswith("w:"):
        assert isinstance(found, str) and (WEIGHTS_INSIDE in found or found == expected)
    elif isinstance(expected, str):
        assert found == expected
    else:
        assert isinstance(found, torch.Tensor), found
        # Of two keys with equal scores another may be chosen.
        bound = 1e-2 if text.startswith("k:") else FLOAT32
        assert ((found - expected).abs().max() / expected.abs().max()).item() <= bound


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("low_rank_attention", "speed")])
@pytest.mark.parametrize("family", FAMILIES)
def test_probes(family, name, tmp_path):
    found, expected = (ask(name, subject, tmp_path) for subject in (split(family, tmp_path), made(family, CPU)))
    assert beyond(name, found, expected, FLOAT32_OTHERS, FLOAT32) == {}
