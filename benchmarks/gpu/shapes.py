"""Models of real shapes with random weights, made on the device itself: no files, no network."""

import os
from types import SimpleNamespace

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from models.families import family_of
from models.subject import ModelRef, Subject
from texts.corpus import Corpus, CorpusRef

DEVICE = torch.device(os.environ.get("PRUNESCOPE_TEST_DEVICE", "cuda"))
_COMMON = {"max_position_embeddings": 8192, "rope_theta": 500000.0, "bos_token_id": 0, "eos_token_id": 1}
SHAPES = {
    "8B": {  # as Llama 3.1 8B
        "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256,
        "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    "1B": {  # as Llama 3.2 1B
        "num_hidden_layers": 16, "hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 128256,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": True,
    },
}  # fmt: skip
_TOY = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": 512, "head_dim": 16, "num_attention_heads": 4}


def llama(shape: str, layers: int | None = None) -> Subject:
    """A Llama of one of `SHAPES` in bfloat16; on a CPU a toy of it, so that the code can be run there.

    Parameters
    ----------
    layers : int, optional
        Fewer than the shape has.
    """
    given = _COMMON | SHAPES[shape] | ({"num_hidden_layers": layers} if layers else {})
    if DEVICE.type == "cpu":
        given |= _TOY | {"num_key_value_heads": 2, "num_hidden_layers": 4}
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = LlamaForCausalLM._from_config(LlamaConfig(**given), dtype=torch.bfloat16)
    model = model.eval().requires_grad_(False)
    model.generation_config.eos_token_id = None  # it goes on writing
    return Subject(ModelRef(f"random-{shape}"), model, numbers(), family_of(model.config), "0" * 64)


def numbers() -> SimpleNamespace:
    """In the place of a tokenizer: token 17 is written ``17``."""
    return SimpleNamespace(
        decode=lambda ids, **options: "".join(f"{int(i)} " for i in ids),
        batch_decode=lambda rows, **options: ["".join(f"{int(i)} " for i in row) for row in rows],
        bos_token_id=None,
        eos_token_id=None,
        chat_template=None,
    )


def corpus(subject: Subject, windows: int, length: int = 512) -> Corpus:
    """Random token ids, of which random weights make as much work as of a text."""
    dice = torch.Generator().manual_seed(1)
    ids = torch.randint(2, subject.config.vocab_size, (windows, length), generator=dice)
    return Corpus(CorpusRef("random", windows, length), ids.numpy(), "0" * 64)


def weight_bytes(subject: Subject) -> int:
    """Bytes of the weights, tied ones once."""
    return sum(weight.nbytes for weight in {id(each): each for each in subject.model.parameters()}.values())
