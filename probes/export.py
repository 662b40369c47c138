"""The command ``export``: a pruned model as a checkpoint for other programs, with what the store knows of its plan."""

import argparse
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from cache.jobs import Jobs
from models.lease import Leases
from models.loading.load import fetch
from models.subject import ModelRef, Subject
from plans.export.card import Measured
from plans.export.export import Exported, Order, export
from plans.export.files.place import destination
from plans.export.registry import FORMATS, format_named
from plans.operation import Pieces
from plans.plan import parse
from probes import PROBES
from probes.answer import learned, open_store, opened
from probes.known import Known
from probes.question import Asked, Question, resolve
from probes.terminal import progress_bar
from refusal import Progress, Refusal, plural, silent
from texts.corpus import BUNDLED, NAMES, CorpusRef
from texts.hub import fetching


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> str:
    """Run the command as a job, which Ctrl-C cancels; returns what to print."""
    options = _described(parser).parse_args(arguments)
    if options.list:
        return listing()
    order, store = ordered(options), open_store()
    jobs, done = Jobs(store), []

    def work(progress: Progress) -> None:
        done.append(run(order, Known(store), Leases(), progress))

    job = jobs.submit(job_key(order), f"Export {order.folder}", work)
    try:
        with progress_bar() as progress:
            while not job.wait(0.2):
                progress(job.done, job.total, job.text)
    except KeyboardInterrupt:
        raise Refusal("Cancelled; nothing was exported.") from None
    finally:
        jobs.shutdown(timeout=None)  # cancels what still runs, and waits until what it wrote is gone
    if job.state != "done":
        raise Refusal(job.error or f"The export was {job.state}.")
    return str(done[0])


def _described(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="a name inside the export folder (PRUNESCOPE_EXPORTS)")
    parser.add_argument("--list", action="store_true", help="list the formats, and where they run")
    parser.add_argument("--format", help=", ".join(FORMATS))
    parser.add_argument("--plan", default="", help="the plan, as for a probe")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export of that name")
    parser.add_argument("--model", default="bundled", help="hub id, folder, or bundled")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")
    parser.add_argument("--dtype", default="auto", help="dtype to compute in; weights stay as they are stored")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or split")
    parser.add_argument(
        "--corpus", default=BUNDLED, help=f"what w: learns from, and what is compared on: {', '.join(NAMES)} or a path"
    )
    parser.add_argument("--windows", type=int, default=8, help="w: learns from as many windows, after these (default 8)")
    parser.add_argument("--length", type=int, default=512, help="tokens in a window (default 512)")
    parser.add_argument("--bos", action="store_true", help="prepend the BOS token to each window")
    return parser


def listing() -> str:
    """The formats, what they express, and where they run."""
    lines = []
    for form in FORMATS.values():
        lines += [form.name, f"  {form.sentence}", f"  expresses {form.expresses}"]
        lines += [f"  {each.name}: {'yes' if each.runs else 'no'}; {each.how}" for each in form.runtimes]
    return "\n".join(lines)


def ordered(options: argparse.Namespace) -> Order:
    """What is to be exported; what can be refused without the model is refused here.

    Raises
    ------
    Refusal
        Folder or format is missing, unknown or not allowed, or the plan cannot be read.
    """
    if not options.folder or not options.format:
        raise Refusal("Name a folder and a format, as in: python -m probes export --plan b20 --format removed small.")
    ref = ModelRef(options.model, options.revision, options.dtype, options.device)
    text = CorpusRef(options.corpus, options.windows, options.length, options.bos)
    order = Order(ref, parse(options.plan), format_named(options.format).name, options.folder, text, options.overwrite)
    destination(order.folder, order.overwrite)
    return order


def job_key(order: Order) -> str:
    """The name of the job that exports to a folder, however that is written.

    Raises
    ------
    Refusal
        The folder is not allowed.
    """
    return f"export {destination(order.folder, overwrite=True)}"


def run(order: Order, known: Known, leases: Leases, progress: Progress = silent) -> Exported:
    """Export, fetching the model if it was never here; a job can run it.

    Raises
    ------
    Refusal
        See `plans.export.export.export`.
    """
    asked = _resolved(order, known, progress)

    def learn(subject: Subject, progress: Progress) -> Mapping[str, Pieces]:
        return learned(asked, subject, known.store, progress)[0].learned

    return export(order, leases, learn, measured(known, asked), progress)


def measured(known: Known, asked: Asked) -> list[Measured]:
    """The numbers that the store has on a plan of a model, the text of each beside it."""
    fingerprint, plan = asked.fingerprint, str(asked.plan)

    def ours(about: Mapping[str, Any]) -> bool:
        question = about.get("question", {})
        same = question.get("plan") == plan and question.get("model", {}).get("fingerprint") == fingerprint
        return same and question.get("probe") in PROBES

    found = []
    for entry in known.store.entries(ours):
        question, row = entry.about["question"], known.store.read(entry.key, hit=False)
        probe = PROBES[question["probe"]]
        if row is None or not probe.takes_plan:
            continue
        with suppress(Refusal):  # a damaged answer is forgotten, and the others are still worth telling
            result = opened(known.store, entry.key, probe.result, row).result
            found.append(Measured(probe.title, _windows(question.get("corpus")), _numbers(result)))
    return [each for each in found if each.numbers]


def _numbers(result: Any) -> dict[str, float]:
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: float(value) for name, value in values.items() if type(value) in (int, float)}


def _windows(text: Mapping[str, Any] | None) -> str:
    if not text:
        return ""
    return f"{plural(text['windows'], 'window')} of {plural(text['length'], 'token')} of {Path(text['name']).name}"


def _resolved(order: Order, known: Known, progress: Progress) -> Asked:
    """The plan as a question, from which follows what it learns; `fidelity` stands for all that apply a plan."""
    question = Question("fidelity", order.ref, order.text, str(order.plan))
    # What is wrong with the text is told before the model is downloaded.
    fetching(lambda: resolve(question, lambda _: ""), progress)
    fetch(order.ref, progress)
    return resolve(question, known.identify)
