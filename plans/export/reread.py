"""Read an export back in a fresh process, as others will: by transformers, from the files alone.

Stock transformers has no layers without attention or MLP. Formats with such gaps are read by transformers as the dense model
that their config describes; a weight may be missing there only if its sublayer is, and the sublayer is taken out.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from models.families import family_of
from models.families.checkpoints import block_pattern, sublayer_of
from models.loading.gaps import gaps_of
from models.removal import removed
from models.view import shared
from plans.export import process
from plans.export.format import Reads
from refusal import Progress, Refusal, silent

ROOT = Path(__file__).parents[2]
# The same code adds the same numbers in the same order, so mostly nothing differs at all. One sublayer more or less changes
# some log-probability of the bundled model by 2.7 nats or more; see docs/decisions.md.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.05}


def reread(reader: str) -> Reads:
    """How a format is read back: ``stock``, by transformers alone, or ``gaps``, as a dense model with gaps."""

    def reads(folder: Path, tokens: Tensor, dtype: torch.dtype, device: str, progress: Progress = silent) -> Tensor:
        with tempfile.TemporaryDirectory() as scratch:
            asked, answered = Path(scratch) / "asked.safetensors", Path(scratch) / "answered.safetensors"
            save_file({"tokens": tokens.cpu()}, asked)
            words = [reader, folder, asked, answered, str(dtype).removeprefix("torch."), device, torch.get_num_threads()]
            command = [sys.executable, "-m", "plans.export.reread", *map(str, words)]
            process.run(command, "reading it back in a fresh process", _complaint, progress, ROOT)
            return load_file(answered)["logarithms"]

    return reads


def _complaint(lines: list[str], code: int) -> str:
    return f"The written checkpoint cannot be read back: {lines[-1] if lines else code}"


def logarithms(logits: Tensor) -> Tensor:
    """Log-probabilities, float32 on the CPU, of logits of shape (..., vocab)."""
    return torch.log_softmax(logits.float(), -1).cpu()


def main() -> None:
    """Read a folder, run windows of tokens through it, write the log-probabilities down."""
    parser = argparse.ArgumentParser()
    for name in ("reader", "folder", "asked", "answered", "dtype", "device"):
        parser.add_argument(name)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = said(given.reader, Path(given.folder), load_file(given.asked)["tokens"], getattr(torch, given.dtype), given.device)
    save_file({"logarithms": found}, given.answered)


@torch.inference_mode()
def said(reader: str, folder: Path, tokens: Tensor, dtype: torch.dtype, device: str) -> Tensor:
    """Log-probabilities (windows, tokens, vocab) that a folder gives token ids (windows, tokens), by transformers.

    Raises
    ------
    Refusal
        Its weights are not those of its config.
    """
    model = (_with_gaps if reader == "gaps" else _stock)(folder, dtype, device)
    place = model.get_input_embeddings().weight.device
    place = "cpu" if place.type == "meta" else place  # accelerate fetches what it keeps on disk
    found = [logarithms(model(input_ids=window[None].to(place), use_cache=False).logits) for window in tokens]
    return torch.cat(found).contiguous()


def _stock(folder: Path, dtype: torch.dtype, device: str) -> torch.nn.Module:
    model, loaded = _loaded(folder, dtype, device)
    wrong = {what: sorted(map(str, loaded[f"{what}_keys"])) for what in ("missing", "unexpected", "mismatched")}
    if any(wrong.values()):
        raise Refusal(f"weights do not match the config: { ({what: keys[:3] for what, keys in wrong.items() if keys}) }")
    return model


def _with_gaps(folder: Path, dtype: torch.dtype, device: str) -> torch.nn.Module:
    found = gaps_of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if found is None:
        raise Refusal("the config lists no gaps")
    config = CONFIG_MAPPING[found.config["model_type"]].from_dict(found.config)
    family = family_of(config)
    model, loaded = _loaded(folder, dtype, device, config=config)
    gaps = {"attention": found.attention, "mlp": found.mlp}
    for name in map(str, loaded["missing_keys"]):
        place = block_pattern(family).fullmatch(name)
        if place is None or int(place[2]) not in gaps.get(sublayer_of(family, place[3]), ()):
            raise Refusal(f"{name} is missing, and the config does not say so")
    if loaded["unexpected_keys"] or loaded["mismatched_keys"]:
        raise Refusal(f"there are weights that the config does not name: {sorted(loaded['unexpected_keys'])[:3]}")
    blocks = found.attention & found.mlp
    return removed(shared(model, family), found.attention - blocks, found.mlp - blocks, blocks).model


def _loaded(folder: Path, dtype: torch.dtype, device: str, **more: object) -> tuple[torch.nn.Module, dict]:
    options = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True, **more}
    with tempfile.TemporaryDirectory() as offload:
        if device == "split":
            options |= {"device_map": "auto", "offload_folder": offload}
        elif device != "cpu":
            options["device_map"] = device
        model, loaded = AutoModelForCausalLM.from_pretrained(folder, **options)
    return model.eval(), loaded


if __name__ == "__main__":
    try:
        main()
    except (Refusal, OSError, ValueError, RuntimeError) as error:
        raise SystemExit(" ".join(str(error).split())) from error
