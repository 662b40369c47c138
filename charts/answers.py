"""Two answers token by token, as HTML: shaded by probability, marked where they differ."""

import html
from collections.abc import Sequence
from difflib import SequenceMatcher

from models.generate import Token, first_divergence

STYLE = """<style>
.answer {line-height: 1.75; font-size: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; min-height: 6rem}
.answer span {border-radius: 3px; padding: 1px 0}
.answer .differs {background: rgba(245, 158, 11, .30)}
.answer .parts {border-left: 3px solid #dc2626; padding-left: 3px; font-weight: 600}
.answer .unsure {border-bottom: 2px dotted rgba(128, 128, 128, .9)}
.answer .end {opacity: .55; font-size: .8em}
</style>"""
_UNSURE = 0.5  # below this probability a token is underlined


def differing(tokens: Sequence[Token], other: Sequence[Token]) -> set[int]:
    """Places of tokens that the best alignment with the other answer does not find there."""
    ids, others = [token.id for token in tokens], [token.id for token in other]
    same = SequenceMatcher(None, ids, others, autojunk=False).get_matching_blocks()
    return set(range(len(ids))) - {block.a + i for block in same for i in range(block.size)}


def answer(tokens: Sequence[Token], other: Sequence[Token]) -> str:
    """One answer as HTML; hovering a token tells its probability and the runners-up.

    The first token that differs from the other answer gets a red edge, every token that is not in the other answer an amber
    ground, tokens less likely than one half a dotted line. The end-of-text token is shown as such.
    """
    parts = first_divergence([token.id for token in tokens], [token.id for token in other])
    marked = differing(tokens, other) if other else set()
    spans = []
    for place, token in enumerate(tokens):
        kinds = ["differs"] if place in marked else []
        kinds += ["parts"] if place == parts else []
        kinds += ["unsure"] if token.probability < _UNSURE else []
        kinds += ["end"] if token.ends else []
        text = " ⟨end of text⟩" if token.ends else token.piece
        title = html.escape(hover(place, token), quote=True)
        spans.append(f'<span class="{" ".join(kinds)}" title="{title}">{html.escape(text)}</span>')
    return f'{STYLE}<div class="answer">{"".join(spans)}</div>'


def hover(place: int, token: Token) -> str:
    """What a token's tooltip says."""
    runners = "\n".join(f"{chance:7.2%}  {text!r}" for text, chance in token.runners)
    return f"token {place + 1}, probability {token.probability:.2%}\nmost likely here:\n{runners}"


def rows(answers: Sequence[Sequence[Token]], names: Sequence[str]) -> list[dict]:
    """The same as a table: a row per step, for each answer its token, probability and runner-up."""
    table = []
    for step in range(max(map(len, answers), default=0)):
        row: dict = {"step": step + 1}
        for name, tokens in zip(names, answers, strict=True):
            if step < len(tokens):
                token = tokens[step]
                row[name] = token.piece if not token.ends else "⟨end⟩"
                row[f"{name}: probability"] = token.probability
                row[f"{name}: runners-up"] = " · ".join(f"{text!r} {p:.0%}" for text, p in token.runners[:3])
        table.append(row)
    return table


def speed(tokens: Sequence[Token]) -> float | None:
    """Tokens per second after the prompt was read, from the median step; None before the second token."""
    steps = sorted(token.seconds for token in tokens[1:])
    return 1 / steps[len(steps) // 2] if steps else None
