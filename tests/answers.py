"""Answers on a tiny model for every page, put into a store before anybody looks: no page has to wait for one."""

import json
import shutil
from pathlib import Path

from cache.store import Store
from models.lease import Leases
from models.subject import ModelRef
from probes.answer import answer
from probes.generation.answers import AnswersParams
from probes.generation.comparison import Comparison, columns_of
from probes.known import Known
from probes.question import Question, resolve
from texts.corpus import CorpusRef
from texts.prompts import as_lines

PLAN, OTHER = "a1,m2", "b2"
_TEXT = CorpusRef(windows=4, length=32)
_STEPS, _TOKENS = 3, 8
_SEARCH = {"points": 1, "generations": 1, "offspring": 2, "draws": 2, "again": 2}


def roomy(tiny_folder: Path, folder: Path) -> Path:
    """A copy of the tiny model that takes prompts as long as the items are."""
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 512}))
    return folder


def link(model: Path) -> str:
    """What stands behind the question mark of a page's address."""
    search = "&".join(f"search_{name}={value}" for name, value in _SEARCH.items())
    text = f"windows={_TEXT.windows}&length={_TEXT.length}"
    return f"model={model}&dtype=float32&device=cpu&{text}&plan={PLAN}&drift_steps={_STEPS}&{search}"


def comparison(model: Path) -> Comparison:
    """Of both plans with the dense model."""
    prompts = as_lines(["The capital", "One, two"])
    return Comparison(columns_of(f"{PLAN}\n{OTHER}", _ref(model)), AnswersParams(prompts, _TOKENS), CorpusRef())


def fill(store: Store, model: Path) -> None:
    """Compute what the pages show at `link`."""
    ref, leases, known = _ref(model), Leases(), Known(store)
    drift = {"prompts": "", "chat": "on", "length": _STEPS, "temperature": 1.0}
    asked = [
        Question("anatomy", ref),
        *(Question(probe, ref, _TEXT) for probe in ("similarity", "drop_scan", "key_rank", "low_rank_attention")),
        *(Question(probe, ref, _TEXT, plan) for probe in ("cost", "fidelity") for plan in (PLAN, OTHER)),
        Question("transitions", ref, _TEXT, PLAN),
        Question("generation_drift", ref, _TEXT, PLAN, drift),
        Question("choice_subspace", ref, _TEXT, PLAN),
        Question("search", ref, _TEXT, "", _SEARCH),
        *comparison(model).questions,
    ]
    with leases.lease(ref):
        for question in asked:
            each = resolve(question, known.identify)
            store.put(each.key, *answer(each, leases.lease, store))


def _ref(model: Path) -> ModelRef:
    return ModelRef(str(model), dtype="float32", device="cpu")
