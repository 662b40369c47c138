"""Continue one prompt with several views side by side, one token each in turn.

Turns are taken on one thread, so that each view's speed is measured alone, and the answers grow together. Sampling draws one
uniform number per step for all views: where two models agree on the probabilities they choose the same token, and a
difference is the plan's doing and not the dice's.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from measures.finite import refuse_nonsense
from models.view import View, cache_bytes
from refusal import Refusal
from texts.chat import rendered

RUNNERS = 5


@dataclass(frozen=True)
class Settings:
    """How to continue: at most ``length`` tokens, greedily at temperature 0, else sampled with ``seed``.

    With ``chat`` the prompt is a user's turn in the model's chat template.
    """

    length: int = 64
    temperature: float = 0.0
    seed: int = 0
    chat: bool = False


@dataclass(frozen=True)
class Token:
    """One token that a view wrote.

    Attributes
    ----------
    piece : str
        The text it adds.
    probability : float
        Before temperature, of this token.
    runners : tuple of (str, float)
        The five most likely tokens and their probabilities.
    seconds : float
        Time of the forward pass; that of the first token read the whole prompt.
    """

    id: int
    piece: str
    probability: float
    runners: tuple[tuple[str, float], ...]
    seconds: float
    ends: bool


def prompt_tokens(tokenizer: Any, prompt: str, chat: bool, context: int | None = None) -> torch.Tensor:
    """Token ids of shape (1, tokens): the prompt alone, or as a user's turn in the model's chat template.

    Raises
    ------
    Refusal
        Empty prompt, none of it is left as tokens, longer than the model's context, or no chat template that can be used.
    """
    if not prompt.strip():
        raise Refusal("The prompt is empty. Write something for the models to continue.")
    if chat and not tokenizer.chat_template:
        raise Refusal("This tokenizer has no chat template. Turn the chat template off to continue the plain text.")
    if chat:
        text = rendered(tokenizer, [{"role": "user", "content": prompt}])
        ids = tokenizer(text, add_special_tokens=False).input_ids
    else:
        ids = tokenizer(prompt).input_ids
    if not ids:
        raise Refusal(
            "This model's tokenizer turns the prompt into no tokens at all. Write it in a script that the model was trained on."
        )
    if context is not None and len(ids) >= context:
        raise Refusal(f"The prompt has {len(ids)} tokens, but this model reads at most {context}. Shorten it.")
    return torch.tensor([ids])


class Writer:
    """One view continuing one prompt; each `step` reads what it wrote last and writes a token.

    ``prompt`` has shape (1, tokens) and lies where the view's embeddings are.
    """

    def __init__(self, view: View, tokenizer: Any, prompt: torch.Tensor, temperature: float = 0.0) -> None:
        self.view, self.tokenizer, self.temperature = view, tokenizer, temperature
        self.cache = view.cache()
        self._prompt = prompt
        self._next = prompt
        self.prompt_length = prompt.shape[1]
        self.written: list[int] = []
        self.text = ""
        view.logits(prompt[:, :1], last=True)  # the first pass through a model sets kernels up; it is not the prompt's

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values held now."""
        return cache_bytes(self.cache)

    @torch.inference_mode()
    def step(self, dice: float) -> Token:
        """Write one token; ``dice`` in [0, 1) picks it where the temperature is above 0."""
        begun = time.perf_counter()
        logits = self.view.logits(self._next, self.cache, last=True)[0, -1].float().cpu()
        seconds = time.perf_counter() - begun  # .cpu() waits for the device
        refuse_nonsense("The model's logits", logits, so="there is no next token")
        chances = logits.softmax(-1)
        best = chances.topk(min(RUNNERS, len(chances)))
        chosen = _draw(logits / self.temperature, dice) if self.temperature > 0 else int(best.indices[0])
        self.written.append(chosen)
        # Without a cache the whole text is read again at each step.
        unread = self.written if self.cache is None else [chosen]
        self._next = torch.tensor([unread], device=self._prompt.device)
        if self.cache is None:
            self._next = torch.cat([self._prompt, self._next], 1)
        piece = self._piece()
        names = self.tokenizer.batch_decode(best.indices[:, None])
        runners = tuple(zip(names, best.values.tolist(), strict=True))
        return Token(chosen, piece, float(chances[chosen]), runners, seconds, chosen in self._ends())

    def _piece(self) -> str:
        """What the newest token adds to the text; nothing while it is only the first bytes of a letter."""
        whole = self.tokenizer.decode(self.written)
        if whole.endswith("\ufffd"):
            return ""
        piece, self.text = whole[len(self.text) :], whole
        return piece

    def _ends(self) -> set[int]:
        configured = getattr(self.view.model.generation_config, "eos_token_id", None)
        listed = configured if isinstance(configured, list) else [configured]
        return {end for end in (*listed, self.tokenizer.eos_token_id) if end is not None}


def write(writers: Iterable[Writer], settings: Settings, context: int | None = None) -> Iterator[tuple[int, Token]]:
    """Steps of all writers in turn, as (writer's place, token); a writer stops at its end-of-text token.

    Each writer is taken when its first turn comes, so one that is made then keeps nobody waiting before. None reads beyond
    ``context``, the most tokens that the model was made for.
    """
    dice = torch.Generator().manual_seed(settings.seed)
    going: Iterable[tuple[int, Writer]] = enumerate(writers)
    for turn in range(settings.length):
        roll = float(torch.rand((), generator=dice))
        still = []
        for place, writer in going:
            if context is not None and writer.prompt_length + turn > context:
                return
            token = writer.step(roll)
            if not token.ends:
                still.append((place, writer))
            yield place, token
        going = still


def _draw(logits: torch.Tensor, dice: float) -> int:
    """Inverse of the cumulative distribution over tokens from likely to unlikely, in float64."""
    ordered = logits.double().softmax(-1).sort(descending=True)
    place = int((ordered.values.cumsum(-1) <= dice).sum())
    return int(ordered.indices[min(place, len(logits) - 1)])
