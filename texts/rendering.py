"""The process that renders chat templates: a template is a program of whoever made the model, and may never end.

It reads a line of JSON, renders by the code of transformers, and writes a line of JSON. It has no model, no torch, none of
the environment of its parent, and little time and memory. It ends when its parent does.
"""

import json
import sys
import time
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from transformers.utils.chat_template_utils import render_jinja_template

try:
    import resource
except ImportError:  # Windows has no limits; the parent's clock is all there is
    resource = None

SECONDS = 2  # of computing, for one text
MEMORY = 512 * 2**20  # bytes beside those of the libraries
LONGEST = 4_000_000  # characters of a rendered text


def main() -> None:
    """Answer until there is no more to read."""
    _limit_memory()
    for line in sys.stdin:
        _limit_time()
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(template: str, turns: list[dict[str, str]], more: dict[str, Any], options: dict[str, bool]) -> dict[str, str]:
    """``text``, or ``refused`` with the reason.

    Parameters
    ----------
    more : dict
        What the template can see beside the turns: the special tokens.
    options : dict
        ``add_generation_prompt`` and ``continue_final_message``.
    """
    try:
        texts, _ = render_jinja_template([turns], chat_template=template, **(more | options))
    except MemoryError:
        return {"refused": f"it takes more than {MEMORY // 2**20} MB"}
    except RecursionError:
        return {"refused": "it recurses endlessly"}
    except SecurityError as error:
        return {"refused": f"it accesses what it must not: {_line(error)}"}
    except TemplateError as error:  # also what a template says by raise_exception
        return {"refused": _line(error)}
    except Exception as error:  # a template can raise whatever Python can
        return {"refused": f"{type(error).__name__}: {_line(error)}"}
    return {"text": texts[0]} if len(texts[0]) <= LONGEST else {"refused": f"it produces more than {LONGEST:,} characters"}


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _limit_memory() -> None:
    with suppress(OSError, ValueError, AttributeError):  # systems without /proc or without the limit
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time() -> None:
    """Be ended by the system after so much computing more, also when nobody waits any more."""
    with suppress(OSError, ValueError, AttributeError):
        resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time()) + SECONDS, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
