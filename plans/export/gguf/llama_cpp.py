"""Ask llama.cpp what a GGUF file predicts: a program for a process of its own, where a crash of the runtime is just an answer.

    python llama_cpp.py ASKED ANSWERED

ASKED is a JSON file: ``model`` (path of the GGUF file), ``windows`` (lists of token ids), ``ends`` (after how many tokens of a
window to ask), ``top`` (how many likely tokens to tell) and ``threads``. ANSWERED becomes one: for each window and end the
likely tokens as ``[id, log-probability]``.
"""

import json
import sys
from pathlib import Path
from typing import Any


def served(asked: dict[str, Any], socket: Path) -> Any:
    """A llama.cpp server for one model on the CPU; it listens on a socket file in a private folder, not on a port."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = asked["model"]
    params.hostnames = [str(socket)]
    params.n_ctx = max(map(len, asked["windows"])) + 8  # room for the token that each question lets it say
    params.n_parallel, params.n_gpu_layers, params.cpuparams.n_threads = 1, 0, asked["threads"]
    params.warmup = params.ui = params.fit_params = False
    params.cache_ram_mib = 0
    return xllamacpp.Server(params)


def likely(server: Any, tokens: list[int], top: int) -> list[tuple[int, float]]:
    """The likeliest next tokens with their log-probabilities, over the whole vocabulary and before any sampling.

    The server tells them beside the token that it chose, unless that is half a character or ends the text; so it is made to
    choose "a", which changes none of them.
    """
    question = {"prompt": tokens, "n_predict": 1, "n_probs": top, "temperature": 0, "logit_bias": [["a", 1000.0]]}
    answer = server.handle_completions(question)
    if "choices" not in answer or not answer["choices"][0].get("logprobs"):
        raise SystemExit(f"llama.cpp gave no prediction: {json.dumps(answer)[:300]}")
    said = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return [(each["id"], each["logprob"]) for each in said]


def main() -> None:
    """Read the question, write the answer."""
    source, target = map(Path, sys.argv[1:])
    asked = json.loads(source.read_text())
    server = served(asked, target.with_name("llama.sock"))
    answer = [[likely(server, window[:end], asked["top"]) for end in asked["ends"]] for window in asked["windows"]]
    target.write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
