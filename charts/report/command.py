"""Write a report of what is stored on a model into one HTML file."""

from argparse import ArgumentParser
from pathlib import Path

from charts.report.report import report
from models.subject import ModelRef
from probes.answer import open_store
from probes.known import Known
from settings import write_atomically


def command(parser: ArgumentParser, arguments: list[str]) -> str:
    """The command ``report`` of the shell; returns the line to print."""
    parser.add_argument("--html", required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--model", default="bundled", help="hub id, folder, .gguf file, or bundled")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or split")
    parser.add_argument("--plan", default="", help="only this plan, and what depends on no plan; default: every plan")
    options = parser.parse_args(arguments)
    ref, file = ModelRef(options.model, options.revision, options.dtype, options.device), Path(options.html)
    text = report(Known(open_store()), ref, options.plan)
    write_atomically(file, text)
    return f"The report on {ref.name} is in {file} ({len(text.encode()) / 1e6:.1f} MB)."
