"""One prompt continued by several views of one model in turns, token by token: what the drop lab watches."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cache.store import Store
from models.generate import Settings, Token, Writer, prompt_tokens, write
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import Plan, parse
from probes.access.limits import refuse_long_writing
from probes.answer import Lease, learned
from probes.question import Identify, Question, resolve
from refusal import Progress
from texts.corpus import CorpusRef


@dataclass(frozen=True)
class Writing:
    """What is to be written. Plans learn from ``corpus``, where they learn."""

    ref: ModelRef
    corpus: CorpusRef
    plans: tuple[Plan, ...]
    prompt: str
    settings: Settings

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"plans": [str(plan) for plan in self.plans]}

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Writing":
        """The inverse of `as_dict`."""
        more = {"ref": ModelRef(**given["ref"]), "corpus": CorpusRef(**given["corpus"])}
        return cls(**given | more | {"plans": tuple(map(parse, given["plans"])), "settings": Settings(**given["settings"])})


@dataclass(frozen=True)
class Written:
    """One token: by which plan, counted from 0, and the bytes of keys and values that it holds then.

    ``prompt_tokens`` is the length of the prompt; ``token`` is None where the writing begins.
    """

    place: int
    token: Token | None
    cache_bytes: int
    prompt_tokens: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Written":
        """The inverse of `as_dict`."""
        token = given["token"]
        if token is not None:
            token = Token(**token | {"runners": tuple(map(tuple, token["runners"]))})
        return cls(**given | {"token": token})


def written(writing: Writing, lease: Lease, store: Store, identify: Identify, progress: Progress) -> Iterator[Written]:
    """The model is leased, what plans need is learned, and then tokens come.

    Parameters
    ----------
    progress : Progress
        Called until the writing begins; what it raises ends it.
    """
    with lease(writing.ref, progress) as subject:
        settings = writing.settings
        tokens = prompt_tokens(subject.tokenizer, writing.prompt, settings.chat, subject.context).to(subject.device)
        refuse_long_writing(tokens.shape[1] + settings.length, len(writing.plans), subject)
        ready = []
        for plan in writing.plans:
            asked = resolve(Question("fidelity", writing.ref, writing.corpus, str(plan)), identify)
            ready.append(learned(asked, subject, store, progress)[0] if asked.learning else plan)
        yield Written(0, None, 0, tokens.shape[1])
        writers: list[Writer] = []

        def begun() -> Iterator[Writer]:
            for plan in ready:
                writers.append(Writer(cut(subject, plan), subject.tokenizer, tokens, settings.temperature))
                yield writers[-1]

        for place, token in write(begun(), settings, subject.context):
            yield Written(place, token, writers[place].cache_bytes, tokens.shape[1])
