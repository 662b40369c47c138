"""What one question may ask for: windows, tokens and new tokens that the operator allows, and the memory that there is.

What is stored may be looked at whatever it took: a limit is for what would have to be computed.
"""

from dataclasses import dataclass

from models.batching import SCORE_BYTES, UNWRITTEN
from models.loading.memory import format_bytes, free_memory
from models.subject import Subject
from probes.question import Asked
from refusal import Refusal, plural
from settings import settings

# Of one window, for each of its tokens: numbers in flight per number of the stream (a block's projections, an MLP of about four
# widths three times, and float64 sums over some of them), and how often the stream after every block is held: where many drops
# are tried, of each model that two of them begin with. Fitted from above to the peaks in docs/decisions.md.
_WORK, _STREAMS, _TRYING, _TRIED = 32, 1, ("drop_scan", "search", "stability"), 4
_LOGIT, _LOGITS = 48, 700_000_000  # bytes for each logit of a window, and at most: they are made a few positions at a time


@dataclass(frozen=True)
class Size:
    """What of a model decides how much a window takes; ``heads`` is 0 where no scores are written down."""

    layers: int
    width: int
    itemsize: int
    heads: int
    vocab: int
    cache_bytes: int  # keys and values per token


def refuse_beyond(asked: Asked) -> None:
    """Refuse a question that asks for more than the operator allows.

    Raises
    ------
    Refusal
        It says the limit, and what to do.
    """
    now, corpus = settings(), asked.corpus or asked.learned_on
    if corpus is not None and now.windows is not None and corpus.windows > now.windows:
        raise Refusal(
            f"This server reads at most {plural(now.windows, 'window')} per question, not {corpus.windows:,}. Ask for fewer."
        )
    if corpus is not None and now.tokens is not None and corpus.windows * corpus.length > now.tokens:
        raise Refusal(
            f"This server reads at most {plural(now.tokens, 'token')} per question; {plural(corpus.windows, 'window')} of "
            f"{corpus.length:,} are {corpus.windows * corpus.length:,}. Ask for fewer windows, or shorter ones."
        )
    for name in asked.probe.writes:
        refuse_new_tokens(int(getattr(asked.params, name)))


def refuse_new_tokens(count: int) -> None:
    """Refuse to write more tokens after a prompt than the operator allows.

    Raises
    ------
    Refusal
        It says the limit.
    """
    most = settings().new_tokens
    if count > most:
        raise Refusal(f"This server writes at most {plural(most, 'token')} after a prompt, not {count:,}. Ask for fewer.")


def refuse_too_large(asked: Asked, subject: Subject) -> None:
    """Refuse a question whose work on one window would not fit into the memory that is free now.

    Raises
    ------
    Refusal
        It says what the question needs, what is free, and what to do.
    """
    length = longest(asked)
    streams = _TRIED if asked.probe.name in _TRYING else _STREAMS
    needs, free = needed(length, size_of(subject), streams), _free(subject)
    if length and needs > free:
        raise Refusal(
            f"This question needs about {format_bytes(needs)} for a window of {length:,} tokens, and {format_bytes(free)} is "
            "free. Ask for shorter windows, or unload a model on the Storage page."
        )


def refuse_long_writing(length: int, plans: int, subject: Subject) -> None:
    """Refuse to write answers side by side whose keys and values would not fit into the memory that is free now.

    Parameters
    ----------
    length : int
        Tokens of the prompt and of one answer together.
    plans : int
        Answers that are written in turns; each keeps its keys and values.

    Raises
    ------
    Refusal
        It says what they need, what is free, and what to do.
    """
    size = size_of(subject)
    needs, free = needed(length, size) + (plans - 1) * length * size.cache_bytes, _free(subject)
    if needs > free:
        raise Refusal(
            f"Prompt and answer are {length:,} tokens, and {plans} at once need about {format_bytes(needs)}; "
            f"{format_bytes(free)} is free. Shorten the prompt or the answer, or unload a model on the Storage page."
        )


def longest(asked: Asked) -> int:
    """Tokens that go through the model at once; 0: the question reads no text and writes none."""
    corpus = asked.corpus or asked.learned_on
    return max(corpus.length if corpus else 0, asked.probe.holds(asked.params))


def needed(length: int, size: Size, streams: int = _STREAMS) -> int:
    """About the bytes that a question takes beside the weights, an upper bound for every probe on one window."""
    per_token = size.width * size.itemsize * (_WORK + streams * (size.layers + 1)) + size.cache_bytes
    return min(_LOGITS, _LOGIT * length * size.vocab) + length * per_token + SCORE_BYTES * size.heads * length**2


def size_of(subject: Subject) -> Size:
    """Of a loaded model; keys and values are counted as if every attention had all heads."""
    config, itemsize = subject.config, subject.dtype.itemsize
    heads = 0 if config._attn_implementation in UNWRITTEN else int(config.num_attention_heads)
    return Size(
        subject.layers, subject.width, itemsize, heads, int(config.vocab_size), 2 * subject.layers * subject.width * itemsize
    )


def _free(subject: Subject) -> int:
    """Bytes where the model computes."""
    place = subject.device.type
    return free_memory(place if place in ("cpu", "cuda") else "cpu")
