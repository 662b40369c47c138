"""A config held against the headers of its weights: what it describes must be there before any of it is built.

transformers makes up what is missing, in memory, before it tells. A config that says more than the weights hold would
fill the memory, or build modules for minutes.
"""

import re
from math import prod

from transformers import PreTrainedConfig

from models.families import Family
from models.families.checkpoints import block_pattern
from models.loading.building import skeleton
from models.loading.checks.gguf import gguf_header
from models.loading.checks.words import in_words
from models.loading.gaps import Gaps
from models.loading.memory import Estimate, format_bytes
from models.loading.sources import Source
from models.loading.weight_files import ITEMSIZE, STORED, headers
from refusal import Refusal

_EMBEDDING = re.compile(r"(?:.*\.)?(?:embed_tokens|embed_in|wte|word_embeddings)\.weight")
_SLACK = 1.5  # of what the weights hold: an untied head, or a tensor that is missing and is named later
_PACKED = 16  # weights that a checkpoint may keep in one whole number, where it is quantised
_BUFFERS = 10**8  # numbers: masks and frequencies, which are in no file
_AGAIN = "Save the model again, or copy the config.json that belongs to these weights."


def refuse_mismatch(source: Source, config: PreTrainedConfig, family: Family, gaps: Gaps | None, expected: Estimate) -> None:
    """Refuse a config that describes more than its weights hold; nothing is allocated.

    Pickled weights have no headers, and only a trusted model has them: they are passed over.

    Parameters
    ----------
    expected : Estimate
        Of the memory there is. The numbers in it may be guessed, before the files were here.

    Raises
    ------
    Refusal
        What the config says, and what is there.
    """
    if any(file.suffix == ".bin" for file in source.files):
        return
    if source.gguf:
        stored = gguf_header(source.folder / source.gguf).numbers
    else:
        found = {name: header for file in source.files for name, header in headers(file).items()}
        shapes = {name: shape for name, (_, shape) in found.items()}
        with in_words(source.name):
            _refuse_layers_and_embedding(shapes, config.get_text_config(decoder=True), family, gaps)
        stored = sum(prod(shape) * (1 if dtype in STORED else _PACKED) for dtype, shape in found.values())
    with in_words(source.name):
        model = skeleton(config, source.trusted)
    weights, buffers = sum(each.numel() for each in model.parameters()), sum(each.numel() for each in model.buffers())
    if gaps is not None:
        needs = weights * ITEMSIZE[expected.dtype]
        if needs > max(expected.free, expected.needs):  # made up for the sublayers that are missing, before they are left out
            raise Refusal(f"{source.name} needs {format_bytes(needs)} to be opened, and {format_bytes(expected.free)} is free.")
    elif weights > stored * _SLACK:
        raise Refusal(
            f"config.json of {source.name} describes {weights:,} parameters, but its weights hold {stored:,}. {_AGAIN}"
        )
    if buffers > stored + _BUFFERS:
        raise Refusal(f"config.json of {source.name} asks for tables of {buffers:,} numbers, more than any model has. {_AGAIN}")


def _refuse_layers_and_embedding(
    shapes: dict[str, tuple[int, ...]], text: PreTrainedConfig, family: Family, gaps: Gaps | None
) -> None:
    places = (block_pattern(family).fullmatch(name) for name in shapes)
    there = len({int(place[2]) for place in places if place})
    whole = len(gaps.attention & gaps.mlp) if gaps else 0  # blocks of which nothing needs to be in the files
    if text.num_hidden_layers > there + whole:
        raise Refusal(f"config.json says {text.num_hidden_layers:,} layers, but the weights hold {there}. {_AGAIN}")
    found = next((shape for name, shape in shapes.items() if _EMBEDDING.fullmatch(name) and len(shape) == 2), None)
    if found is None:
        raise Refusal(f"The weights hold no token embedding, such as embed_tokens.weight. {_AGAIN}")
    wanted = text.vocab_size, getattr(text, "word_embed_proj_dim", None) or text.hidden_size
    if found != wanted:
        raise Refusal(
            f"config.json says {wanted[0]:,} tokens of width {wanted[1]:,}, but the embeddings in the weights have the shape "
            f"{found[0]:,} × {found[1]:,}. {_AGAIN}"
        )
