"""The process that runs lm-evaluation-harness: it prepares the tasks, asks its parent what the model says, and judges that.

Parent and child take turns, one line of JSON at a time. The child has no model: it sends token ids, and is sent what they
scored. So the harness runs whatever the parent can run, with one copy of the weights, and is stopped by ending it.
"""

import argparse
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate, utils
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, has_bos_prefix, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

from refusal import Refusal
from texts.chat import rendered

ROOT = Path(__file__).parents[2]
BUILTIN = Path(__file__).parent / "builtin"
Ask = Callable[[str, list[Any]], list[Any]]
_CONTEXT, _NEW = 2048, 256  # as the harness has it where model or task do not say


class Asking(TemplateLM):
    """A language model for the harness whose numbers come from elsewhere; texts become tokens as its own `HFLM` does it."""

    def __init__(self, tokenizer: Any, context: int | None, ask: Ask) -> None:
        super().__init__()
        self.tokenizer, self.max_length, self._ask = tokenizer, context or _CONTEXT, ask

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else bos

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        if add_special_tokens is None and has_bos_prefix(string, self.tokenizer.decode(self.prefix_token_id)):
            add_special_tokens = False
        special = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return self.tokenizer.encode(string, **special)

    def _loglikelihood_tokens(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        pairs = []
        for _texts, context, continuation in requests:
            if not continuation:
                raise Refusal("A task has an answer without any token. Leave it out, or write something there.")
            if len(continuation) > self.max_length:
                raise Refusal(f"An answer has {len(continuation)} tokens, but this model reads at most {self.max_length}.")
            kept = (context + continuation)[-(self.max_length + 1) :]  # too long: the beginning goes
            pairs.append([kept[: -len(continuation)], continuation])
        return [(float(score), bool(greedy)) for score, greedy in self._ask("score", pairs)]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        windows = [
            list(map(utils.make_disjoint_window, utils.get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self.max_length, 1)))
            for request in requests
        ]  # fmt: skip
        scores = iter(self._loglikelihood_tokens([(None, *window) for each in windows for window in each]))
        return [sum(next(scores)[0] for _ in each) for each in windows]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        asked, eos = [], self.tokenizer.decode(self.eot_token_id)
        for request in requests:
            prompt, given = request.args
            given = normalize_gen_kwargs(given, _NEW)
            if given["do_sample"]:
                raise Refusal("This task samples its answers, but only greedy decoding is supported here. Choose another task.")
            room = self.max_length - given["max_gen_toks"]
            if room <= 0:
                raise Refusal(f"This task generates {given['max_gen_toks']} tokens; this model holds {self.max_length} in all.")
            ids = self.tok_encode(prompt)[-room:] or [self.prefix_token_id]  # a tokenizer may leave no token of a prompt
            asked.append([ids, given["max_gen_toks"], handle_stop_sequences(given.get("until"), eos)])
        written = self._ask("write", asked)
        return [postprocess_generated_text(text, each[2], None) for text, each in zip(written, asked, strict=True)]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return rendered(self.tokenizer, chat_history, answering=add_generation_prompt)


def evaluated(job: dict[str, Any], ask: Ask) -> list[dict[str, Any]]:
    """Run the tasks of a job; each with its name, version, metrics, items' digests and items' values.

    Raises
    ------
    Refusal
        There is no such task.
    """
    folder = Path(job["folder"]) if job["folder"] else None
    paths = [str(each) for each in (BUILTIN, folder) if each]
    manager = TaskManager(include_path=paths, include_defaults=False)
    if not set(job["tasks"]) <= set(manager.all_tasks):
        manager = TaskManager(include_path=paths)  # reads some 14,000 files, which takes seconds
    known = set(manager.all_tasks)
    if missing := [name for name in job["tasks"] if name not in known]:
        close = difflib.get_close_matches(missing[0], sorted(known), 3)
        told = f" Did you mean {' or '.join(close)}?" if close else " `lm-eval ls tasks` lists them."
        raise Refusal(f"There is no task '{missing[0]}'.{told}")
    tasks = []
    for name in job["tasks"]:
        with _where(ROOT if name == "prunescope_items" or not folder else folder):  # a task's own files are named from there
            tasks += _leaves(manager, name)
    found = simple_evaluate(
        model=Asking(AutoTokenizer.from_pretrained(job["tokenizer"]), job["context"], ask), tasks=tasks, task_manager=manager,
        num_fewshot=None if job["fewshot"] < 0 else job["fewshot"], limit=job["limit"] or None, log_samples=True,
        bootstrap_iters=0, apply_chat_template=job["chat"], random_seed=job["seed"], numpy_random_seed=job["seed"],
        torch_random_seed=job["seed"], fewshot_random_seed=job["seed"],
    )  # fmt: skip
    return [_task(name, found) for name in found["samples"]]


def _leaves(manager: TaskManager, name: str) -> list[Any]:
    """The tasks of that name, a group's one by one."""
    try:
        return list(manager.load([name])["tasks"].values())
    except Exception as error:  # whatever a data set or a task file can raise, the person should know which task it was
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Refusal(f"The task {name} could not be prepared: {said[0]}") from error


def _task(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """One task's numbers, its items in their order; a metric after a filter is named ``metric,filter``."""
    rows = sorted(found["samples"][name], key=lambda row: row["doc_id"])
    filters = {each: [row for row in rows if row["filter"] == each] for each in dict.fromkeys(row["filter"] for row in rows)}
    metrics, better, values = {}, {}, {}
    for key, value in found["results"][name].items():
        metric, comma, after = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        named = metric if after == "none" else key
        metrics[named] = value
        better[named] = bool(found["higher_is_better"].get(name, {}).get(metric, True))
        each = [row.get(metric) for row in filters.get(after, [])]
        if each and all(isinstance(x, int | float) for x in each):
            values[named] = list(map(float, each))
    digests = [row["doc_hash"] for row in next(iter(filters.values()), [])]  # each filter sees the same items
    version = str(found["versions"].get(name, ""))
    return {"name": name, "version": version, "metrics": metrics, "better": better, "digests": digests, "values": values}


@contextmanager
def _where(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> None:
    """Read a job from stdin, evaluate it, and write to stdout what was found; whatever else is printed goes to stderr."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    def ask(kind: str, requests: list[Any]) -> list[Any]:
        tell(ask=kind, requests=requests)
        return json.loads(sys.stdin.readline())

    try:
        tell(found=evaluated(json.loads(sys.stdin.readline()), ask))
    except Refusal as refusal:
        tell(refused=str(refusal))


if __name__ == "__main__":
    main()
