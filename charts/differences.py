"""Texts token by token, as HTML: marked where they differ from another text, by an edge, a ground or a line."""

import html
from collections.abc import Sequence

from measures.text import first_divergence, unmatched

# An answer stands for itself; in the drift of two models a token can be framed.
STYLE = """<style>
.answer, .drift {line-height: 1.9; font-size: 1rem; white-space: pre-wrap; overflow-wrap: anywhere}
.answer {line-height: 1.75; min-height: 6rem}
.answer span, .drift span {border-radius: 3px; padding: 2px 0}
.answer .differs, .drift .differs {background: rgba(245, 158, 11, .30)}
.answer .parts, .drift .parts {border-left: 3px solid #dc2626; padding-left: 3px; font-weight: 600}
.answer .unsure {border-bottom: 2px dotted rgba(128, 128, 128, .9)}
.answer .end, .drift .end {opacity: .8; font-size: .8em}
.drift .chosen {outline: 2px solid #6366F1; outline-offset: 1px}
</style>"""
END = " ⟨end of text⟩"


def marks(ids: Sequence[int], other: Sequence[int]) -> list[list[str]]:
    """The marks of each token of a text beside another text.

    Parameters
    ----------
    ids, other : sequences of int
        Token ids. As long as the other text is empty, nothing is marked.

    Returns
    -------
    list of list of str, as long as ``ids``
        ``parts`` on the first token that differs (a red edge), ``differs`` on every token that the best alignment does not
        find in the other text (an amber ground).
    """
    first, missing = first_divergence(ids, other), unmatched(ids, other) if other else set()
    found: list[list[str]] = [[] for _ in ids]
    for place in missing:
        found[place].append("differs")
    if first is not None:
        found[first].append("parts")
    return found


def token(piece: str, kinds: Sequence[str] = (), ends: bool = False, title: str = "") -> str:
    """One token as HTML.

    Parameters
    ----------
    piece : str
        Its text, which may look like markup.
    kinds : sequence of str
        Its marks; classes of `STYLE`.
    ends : bool
        It is the end-of-text token, which is shown as such.
    title : str
        What its tooltip says.
    """
    classes = [*kinds, "end"] if ends else kinds
    tooltip = f' title="{html.escape(title, quote=True)}"' if title else ""
    return f'<span class="{" ".join(classes)}"{tooltip}>{html.escape(END if ends else piece)}</span>'


def text(tokens: Sequence[str], kind: str) -> str:
    """Tokens as one text; ``kind`` is ``answer`` or ``drift``."""
    return f'{STYLE}<div class="{kind}">{"".join(tokens)}</div>'
