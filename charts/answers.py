"""Two answers token by token: shaded by probability, marked where they differ."""

from collections.abc import Sequence

from charts import differences
from models.generate import Token

_UNSURE = 0.5  # below this probability a token is underlined


def answer(tokens: Sequence[Token], other: Sequence[Token]) -> str:
    """One answer as HTML, with the `differences.marks` from the other one; a dotted line is under tokens less likely than 1/2.

    Hovering a token shows its probability and the runners-up.
    """
    kinds = differences.marks([token.id for token in tokens], [token.id for token in other])
    spans = []
    for place, (token, marked) in enumerate(zip(tokens, kinds, strict=True)):
        unsure = ["unsure"] if token.probability < _UNSURE else []
        spans.append(differences.token(token.piece, [*marked, *unsure], token.ends, hover(place, token)))
    return differences.text(spans, "answer")


def hover(place: int, token: Token) -> str:
    """The tooltip of a token."""
    runners = "\n".join(f"{chance:7.2%}  {text!r}" for text, chance in token.runners)
    return f"token {place + 1}, probability {token.probability:.2%}\nmost likely tokens:\n{runners}"


def rows(answers: Sequence[Sequence[Token]], names: Sequence[str]) -> list[dict]:
    """The same as a table: a row per step with the token, its probability and the runners-up of each answer."""
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
    """Tokens per second once the prompt is read, from the median step; None before the second token."""
    steps = sorted(token.seconds for token in tokens[1:])
    return 1 / steps[len(steps) // 2] if steps else None
