"""The probes from a shell: the same questions, the same cache and the same numbers as the app."""

import argparse
import importlib
import logging
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from cache.bundle import BundleError
from cache.disk import StoreError
from cache.jobs import Jobs
from models.lease import Leases
from models.loading.load import fetch
from models.subject import ModelRef
from plans.registry import help_text
from probes import PROBES, bundles, export
from probes.access import doctor
from probes.answer import Answer, by_lease, find, open_store, submit
from probes.base import as_dict
from probes.document import document, written
from probes.executors import serve
from probes.gate import conditions, refuse_unknown
from probes.known import Known
from probes.question import Asked, Question, probe_named, resolve
from probes.terminal import progress_bar
from refusal import Progress, Refusal
from texts.corpus import BUNDLED, NAMES, CorpusRef
from texts.files import not_utf8, read_bytes
from texts.hub import fetching

_LARGEST = 64 * 10**6  # bytes of a file that is given as a parameter
# Commands of layers above this one, by the name of their module: only a shell that is asked for one imports it.
_ABOVE = {"report": "charts.report.command"}
_BESIDE = {"export": export, "doctor": doctor, "worker": serve}
_COMMANDS = ("pack", "unpack", *_BESIDE, *_ABOVE)


def main(arguments: list[str] | None = None) -> int:
    """Run one probe or one of the commands beside them.

    Returns
    -------
    int
        0; 1 where a condition of ``--fail-if`` holds, or the doctor finds something wrong; 2 where there is no answer; 130
        after Ctrl-C. But for the doctor, each of them but the first with one line on stderr.
    """
    logging.getLogger("cache").addHandler(logging.NullHandler())  # what a job logs is for servers; here one line tells it
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _command(arguments) if arguments[:1] and arguments[0] in _COMMANDS else _probe(arguments)
    except (Refusal, StoreError, BundleError, OSError, MemoryError) as error:
        print(f"probes: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("probes: cancelled.", file=sys.stderr)
        return 130  # as a shell counts what a Ctrl-C ended


def _command(arguments: list[str]) -> int:
    """One of the commands beside the probes."""
    name, rest = arguments[0], arguments[1:]
    if name in ("pack", "unpack"):
        print(bundles.run(_bundle_parser().parse_args(arguments)))
        return 0
    module = importlib.import_module(_ABOVE[name]) if name in _ABOVE else _BESIDE[name]
    told = module.command(_OneLine(prog=f"python -m probes {name}", description=module.__doc__), rest)
    text, code = told if isinstance(told, tuple) else (told, 0)
    print(text)
    return code


def _probe(arguments: list[str]) -> int:
    """One question."""
    options = _options(arguments)
    if options.list:
        _list()
        return 0
    if not options.probe:
        raise Refusal("Name a probe; python -m probes --list shows them.")
    question, gate = _question(options), conditions(options.fail_if)
    probe = probe_named(question.probe)
    refuse_unknown(probe.result, gate)
    begun = time.perf_counter()
    with progress_bar() as progress:
        answer = _answer(question, progress)
    written(options.json, document(answer, time.perf_counter() - begun), probe.title)
    if failures := list(filter(None, (condition.failure(as_dict(answer.result)) for condition in gate))):
        print(f"probes: failed: {' '.join(failures)}", file=sys.stderr)
        return 1
    return 0


def _list() -> None:
    for probe in PROBES.values():
        params = " ".join(f"--param {field.name}={field.default}" for field in fields(probe.params))
        print(f"{probe.name:<19} {probe.title} {params}".rstrip())


class _OneLine(argparse.ArgumentParser):
    """A parser whose complaint is one line, as every other one of this command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"probes: {message}; see python -m probes --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLine(prog="python -m probes", description=__doc__, allow_abbrev=False)
    parser.add_argument("probe", nargs="?", metavar="NAME", help="the probe to run; see --list")
    parser.add_argument("--list", action="store_true", help="list the probes and their parameters")
    parser.add_argument("--model", default="bundled", help="hub id, folder, .gguf file, or bundled")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or split")
    parser.add_argument("--corpus", default=BUNDLED, help=f"{', '.join(NAMES)} or a path")
    parser.add_argument("--windows", type=int, default=8, help="number of windows of text (default 8)")
    parser.add_argument("--length", type=int, default=512, help="tokens in a window (default 512)")
    parser.add_argument("--bos", action="store_true", help="prepend the BOS token to each window")
    parser.add_argument("--plan", default="", help=f"comma-separated items: {help_text()}".replace("%", "%%"))
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=("a parameter of the probe; =@FILE reads it from a file"),
    )
    parser.add_argument("--json", metavar="FILE", help="write question, result and metadata as JSON; - for stdout")
    parser.add_argument(
        "--fail-if", action="append", default=[], metavar="CONDITION", help="exit with 1 if it holds, as in kl>0.1"
    )
    return parser


def _options(arguments: list[str]) -> argparse.Namespace:
    """The options, with those that are named like a parameter of the probe among its parameters: ``--batch 4``."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.probe:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    names = {field.name for field in fields(probe_named(options.probe).params)} if rest else set()
    while rest:
        given = rest.pop(0)
        name, equals, value = given.removeprefix("--").partition("=")
        if not given.startswith("--") or name.replace("-", "_") not in names:
            parser.error(f"unrecognized arguments: {' '.join([given, *rest])}")
        if not equals and not rest:
            parser.error(f"argument {given}: expected one argument")
        options.param.append(f"{name.replace('-', '_')}={value if equals else rest.pop(0)}")
    return options


def _bundle_parser() -> argparse.ArgumentParser:
    parser = _OneLine(prog="python -m probes", description="Pack all answers on a model into one file.")
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="write all answers on a model into a file")
    pack.add_argument("--model", default="bundled", help="hub id, folder, .gguf file, or bundled")
    pack.add_argument("--revision", help="branch, tag or commit of a hub id")
    pack.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    pack.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or split")
    pack.add_argument("--pieces", action="store_true", help="also what plans learned and the dense model's states: large")
    unpack = commands.add_parser("unpack", help="add the answers of such a file to the store")
    for command in (pack, unpack):
        command.add_argument("file", metavar="FILE")
    return parser


def _question(options: argparse.Namespace) -> Question:
    params = {}
    for given in options.param:
        name, equals, value = given.partition("=")
        if not equals:
            raise Refusal(f"--param takes KEY=VALUE, not '{given}'.")
        params[name] = _content(value[1:]) if value.startswith("@") else value
    model = ModelRef(options.model, options.revision, options.dtype, options.device)
    corpus = CorpusRef(options.corpus, options.windows, options.length, options.bos)
    return Question(probe_named(options.probe).name, model, corpus, options.plan, params)


def _content(path: str) -> str:
    try:
        return read_bytes(Path(path), _LARGEST).decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(Path(path), error) from error


def _answer(question: Question, progress: Progress) -> Answer:
    store = open_store()
    known, leases = Known(store), Leases()
    asked = _resolved(question, known, progress)
    found = find(store, asked)
    if found is not None:
        return found
    known.note(question.model, asked.fingerprint)
    jobs = Jobs(store)
    job = submit(jobs, asked, by_lease(leases.lease, store))
    try:
        while not job.wait(0.2):
            progress(job.done, job.total, job.text)
    finally:
        jobs.shutdown()  # which cancels, after a Ctrl-C
    if job.state != "done":
        raise Refusal(job.error or f"The job was {job.state}.")
    answer = find(store, asked)
    if answer is None:
        raise Refusal("The answer was computed but is no longer in the store. Is the data directory shared or full?")
    return Answer(answer.result, answer.about | {"from_cache": False})


def _resolved(question: Question, known: Known, progress: Progress) -> Asked:
    """The question with what follows from it; its model is downloaded if it was never seen here."""
    # What is wrong with plan, text and parameters is told before the model is downloaded.
    fetching(lambda: resolve(question, lambda _: ""), progress)
    try:
        known.identify(question.model)
    except Refusal:
        fetch(question.model, progress)
    return resolve(question, known.identify)


if __name__ == "__main__":
    sys.exit(main())
