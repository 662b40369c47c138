"""Answers token by token: marked where they differ, with probabilities; and many of them as tables."""

import csv
import io
import math
from collections.abc import Sequence

from charts import differences, style
from models.generate import Token
from probes.generation.answers import AnswersResult
from probes.generation.apart import Apart
from refusal import plural

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


def summary(prompts: Sequence[str], names: Sequence[str], found: Sequence[Sequence[Apart]]) -> list[dict]:
    """A row for each prompt and each column beside the dense one.

    Parameters
    ----------
    names : sequence of str
        Of all columns, the dense one first.
    found : by prompt, then by column beside the dense one
    """
    return [
        {
            "prompt": prompt, "plan": name, "KL": each.kl, "ROUGE-L": each.rouge_l,
            "first difference": None if each.first is None else each.first + 1, "differing tokens": each.differing,
            "repeated 4-grams": each.repetition, "tokens": each.tokens, "dense tokens": each.dense_tokens,
            "notice": "; ".join(each.marks),
        }
        for prompt, row in zip(prompts, found, strict=True)
        for name, each in zip(names[1:], row, strict=True)
    ]  # fmt: skip


def texts(names: Sequence[str], results: Sequence[AnswersResult]) -> list[dict]:
    """Every answer as a row: the prompt, who wrote it, and what; for files."""
    return [
        {"prompt": prompt, "plan": name, "answer": result.texts[i], "tokens": len(result.pieces[i]), "ended": result.ended[i],
         "kl": None if math.isnan(result.kl[i]) else float(result.kl[i])}
        for name, result in zip(names, results, strict=True)
        for i, prompt in enumerate(result.prompts)
    ]  # fmt: skip


def facts(each: Apart) -> str:
    """What stands below an answer."""
    first = "same as dense" if each.first is None else f"first difference at token {each.first + 1}"
    kl = "" if each.kl != each.kl else f" · KL {style.number(each.kl)} nats"
    notice = "".join(f" · **{mark}**" for mark in each.marks)
    return f"{plural(each.tokens, 'token')} · {first}{kl} · ROUGE-L {each.rouge_l:.2f}{notice}"


def as_csv(rows: Sequence[dict]) -> str:
    """Rows as CSV, the first line names the columns. What a spreadsheet would take for a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(
        {
            name: f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r\n" and value else value
            for name, value in row.items()
        }
        for row in rows
    )
    return out.getvalue()
