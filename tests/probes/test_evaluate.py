"""Tasks: the harness's own model class on the dense model is the oracle, for every kind of request; then what can go wrong."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cache.codec import decode, encode
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import Plan, parse
from probes.base import as_dict, from_dict
from probes.question import Question, resolve
from probes.tasks import session
from probes.tasks.answers import Answers
from probes.tasks.evaluate import PROBE, EvaluateParams, compared, paired
from refusal import Refusal, silent

lm_eval = pytest.importorskip("lm_eval")

DOCS = [
    {"text": "The capital of France is", "options": ["Paris", "the arts", "is"], "answer": 0},
    {"text": "The capital of the arts", "options": [" is Paris, and more", "was"], "answer": 1},
    {"text": "and the capital of", "options": ["the", "France is Paris", "arts", "a"], "answer": 1},
    {"text": "Paris is the", "options": ["a", "b", "c"], "answer": 2},
]
TASK = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: docs.jsonl}}}}
test_split: test
output_type: {kind}
doc_to_text: "{text}"
{more}
metric_list:
{metrics}
"""
CHOICE = dict(kind="multiple_choice", text="{{text}}", more='doc_to_choice: "{{options}}"\ndoc_to_target: answer',
              metrics="  - metric: acc\n  - metric: acc_norm\n  - metric: acc_bytes")  # fmt: skip
LETTERS = CHOICE | {"more": 'doc_to_choice: ["A", "B"]\ndoc_to_target: 0'}
ROLLING = dict(kind="loglikelihood_rolling", text="", more='doc_to_target: "{{text}} {{options[0]}}"',
               metrics="  - metric: word_perplexity\n  - metric: bits_per_byte")  # fmt: skip
WRITTEN = dict(kind="generate_until", text="{{text}}", more='doc_to_target: "{{options[0]}}"\n'
               "generation_kwargs: {until: ['capital', '.'], max_gen_toks: 12, do_sample: false}",
               metrics="  - metric: exact_match\n    aggregation: mean\n    higher_is_better: true")  # fmt: skip
FILTERED = WRITTEN | {
    "metrics": WRITTEN["metrics"]
    + """
filter_list:
  - name: first
    filter:
      - {function: take_first}
  - name: nothing
    filter:
      - {function: regex, regex_pattern: "(never)"}
      - {function: take_first}"""
}
TASKS = {"filtered": FILTERED, "choice": CHOICE, "letters": LETTERS, "rolling": ROLLING, "written": WRITTEN}


@pytest.fixture(scope="module")
def subject(tiny_folder):
    return load(ModelRef(str(tiny_folder), dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a task of every kind."""
    made = tmp_path_factory.mktemp("tasks")
    (made / "docs.jsonl").write_text("\n".join(map(json.dumps, DOCS)))
    for name, parts in TASKS.items():
        (made / f"{name}.yaml").write_text(TASK.format(name=name, **parts))
    return made


@pytest.fixture(scope="module")
def kept():
    """What is kept of the dense model."""
    return {}


@pytest.fixture(scope="module")
def found(subject, folder, kept):
    return PROBE.run(subject, None, parse("a1,m2"), EvaluateParams(",".join(TASKS), str(folder)), dense=kept)


@pytest.fixture(scope="module")
def oracle(subject, folder):
    """The same tasks by the harness's own class for transformers, on the same model in this process."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        model = HFLM(pretrained=subject.model, tokenizer=subject.tokenizer, batch_size=1)
        return simple_evaluate(
            model=model, tasks=list(TASKS), task_manager=TaskManager(include_path=str(folder)), log_samples=True,
            bootstrap_iters=0, random_seed=0, numpy_random_seed=0, torch_random_seed=0, fewshot_random_seed=0,
        )  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_the_dense_model_scores_what_the_harness_itself_says(found, oracle, task):
    [row] = [each for each in found.tasks if each["name"] == task]
    assert row["items"] == len(DOCS)
    theirs = oracle["results"][task]
    theirs = {key.removesuffix(",none"): value for key, value in theirs.items() if "," in key and "stderr" not in key}
    assert {metric["name"] for metric in row["metrics"]} == set(theirs)
    for metric in row["metrics"]:
        assert metric["dense"] == pytest.approx(theirs[metric["name"]], rel=1e-5)
    samples = sorted(oracle["samples"][task], key=lambda each: each["doc_id"])
    assert found.digests[task] == list(dict.fromkeys(each["doc_hash"] for each in samples))
    assert set(found.dense_values[task]) == (set(theirs) if task != "rolling" else set())
    for name, values in found.dense_values[task].items():
        metric, _, after = name.partition(",")
        wanted = [each[metric] for each in samples if each["filter"] == (after or "none")]
        np.testing.assert_allclose(values, wanted, rtol=1e-5)


def asked(subject, folder, reply, **job):
    """What the harness finds in a fresh process where ``reply`` answers."""
    given = {"tasks": ["choice"], "folder": str(folder), "tokenizer": subject.ref.name, "context": subject.context,
             "limit": 0, "fewshot": -1, "chat": False, "seed": 0}  # fmt: skip
    return session.run(given | job, reply, silent)


def test_every_log_likelihood_is_the_harness_s(subject, folder, oracle):
    """The metrics above are mostly 0 and 1; what they are made of must agree too."""
    scored = []
    answers = Answers(subject, cut(subject, Plan()), "dense", silent)

    def reply(kind, requests):
        scored.extend(found := answers(kind, requests))
        return found

    asked(subject, folder, reply)
    rows = sorted(oracle["samples"]["choice"], key=lambda each: each["doc_id"])
    theirs = [tuple(each) for row in rows for each in row["filtered_resps"]]
    assert len(scored) == len(theirs) > 8
    for (score, greedy), (their_score, their_greedy) in zip(scored, theirs, strict=True):
        assert score == pytest.approx(float(their_score), abs=1e-4) and greedy == (str(their_greedy) == "True")


def test_a_long_document_is_scored_a_few_positions_at_a_time(subject):
    """The same numbers, whatever part of the logits is there at a time."""
    pairs = [([1], list(range(2, 40))), ([3, 4], [5]), ([3, 4], [6]), ([7, 8, 9], [10, 11])]
    whole = Answers(subject, cut(subject, Plan()), "dense", silent).scored(pairs)
    logits = cut(subject, Plan()).logits(torch.tensor([[*pairs[0][0], *pairs[0][1]]]))[0, :-1].double().log_softmax(-1)
    wanted = logits.gather(-1, torch.tensor(pairs[0][1])[:, None]).sum().item()
    parts = Answers(subject, cut(subject, Plan()), "dense", silent, projected=subject.config.vocab_size * 3)
    seen, head = [], parts._head

    def watched(states):
        seen.append(len(states))
        return head(states)

    watched.vocab, watched.device, parts._head = head.vocab, head.device, watched
    np.testing.assert_allclose(parts.scored(pairs), whole, rtol=1e-6)  # products of other shapes round otherwise
    assert whole[0][0] == pytest.approx(wanted, rel=1e-6)
    assert max(seen) == 3 and sum(seen) == 38 + 1 + 2


@pytest.mark.parametrize(("job", "there"), [({"chat": True}, "<s>user: The"), ({"fewshot": 1}, "Paris is the c")])
def test_a_template_and_examples_reach_the_model(subject, folder, job, there):
    prompts = []

    def reply(kind, requests):
        prompts.extend(subject.tokenizer.decode(context) for context, _ in requests)
        return [[0.0, False]] * len(requests)

    asked(subject, folder, reply, **job)
    assert any(there in prompt for prompt in prompts), prompts


def test_a_plan_changes_the_scores_and_the_dense_ones_are_kept(subject, folder, found, kept):
    [name] = kept
    kept[name]["tasks"][1]["metrics"]["acc"] = 0.125  # taken from here, and not measured again
    again = PROBE.run(subject, None, parse("b0-2"), EvaluateParams(",".join(TASKS), str(folder)), dense=kept)
    assert again.tasks[1]["metrics"][0]["dense"] == 0.125
    before, after = ({each["name"]: each["metrics"][0] for each in result.tasks}["rolling"] for result in (found, again))
    assert len({before["dense"], before["pruned"], after["pruned"]}) == 3 and not after["better"]


def test_scores_of_other_items_are_forgotten(subject, folder, found, kept):
    [name] = kept
    old = {name: json.loads(json.dumps(kept[name]))}
    old[name]["tasks"][0]["digests"][0] = "of another item"
    with pytest.raises(Refusal, match="items changed"):
        PROBE.run(subject, None, parse("a1"), EvaluateParams(",".join(TASKS), str(folder)), dense=old)
    assert not old, "asked again, the dense model answers anew"


def test_it_is_what_is_stored(found):
    again = from_dict(type(found), decode(encode(as_dict(found))))
    assert again.tasks == found.tasks and again.digests == found.digests
    np.testing.assert_array_equal(again.values["choice"]["acc"], found.values["choice"]["acc"])


def test_the_built_in_items_need_no_folder(subject):
    found = PROBE.run(subject, None, parse("a1"), EvaluateParams(limit=5))
    assert found.tasks[0]["name"] == "prunescope_items" and found.tasks[0]["items"] == 5
    assert {each["name"] for each in found.tasks[0]["metrics"]} == {"acc", "acc_bytes"}


# Pairs


def test_pairs_are_counted():
    found = paired(np.array([1.0, 1, 0, 0, 1]), np.array([1.0, 0, 0, 1, 0]))
    assert (found["won"], found["lost"], found["p"]) == (1, 2, 1.0) and found["difference"] == pytest.approx(-0.2)
    assert "p" not in paired(np.array([0.5, 1]), np.array([1.0, 1]))


def task(**given):
    return {"name": "t", "version": "1", "metrics": {"acc": 0.5}, "better": {"acc": True}, "digests": ["x", "y"],
            "values": {"acc": [1.0, 0.0]}, **given}  # fmt: skip


def test_other_items_are_not_paired():
    with pytest.raises(Refusal, match="items changed"):
        compared([task()], [task(digests=["x", "z"])])


def test_a_task_without_a_number_is_told():
    with pytest.raises(Refusal, match="produced no numeric metric"):
        compared([task(metrics={})], [task(metrics={})])


def test_without_values_there_is_no_test():
    found = compared([task(values={})], [task(values={})])
    assert math.isnan(found.p) and "difference" not in found.tasks[0]["metrics"][0]


# What can go wrong


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tasks": " , "}, "Name a task"),
        ({"limit": -1}, "-1 items"),
        ({"fewshot": -2}, "-2 examples"),
    ],
)
def test_bad_parameters_are_refused(given, says):
    with pytest.raises(Refusal, match=says):
        EvaluateParams(**given)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"mine.yaml": "task: mine\ndataset_path: json\noutput_type: ["}, "mine"),
        ({"mine.yaml": TASK.format(name="mine", **CHOICE)}, "The task mine could not be prepared"),
        ({"mine.yaml": TASK.format(name="mine", **CHOICE | {"text": "{{nothing}}"}),
          "docs.jsonl": json.dumps(DOCS[0])}, "nothing"),
        ({"mine.yaml": TASK.format(name="mine", **WRITTEN).replace("do_sample: false", "do_sample: true, temperature: 1.0"),
          "docs.jsonl": json.dumps(DOCS[0])}, "only greedy"),
    ],
)  # fmt: skip
def test_a_task_with_a_mistake_is_told(subject, tmp_path, content, says):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(Refusal, match=says):
        PROBE.run(subject, None, parse("a1"), EvaluateParams("mine", str(tmp_path)))


def test_a_name_with_a_typo_is_told_with_what_was_meant(subject):
    with pytest.raises(Refusal, match=r"There is no task 'hellaswagg'\. Did you mean .*hellaswag"):
        PROBE.run(subject, None, parse("a1"), EvaluateParams("hellaswagg"))


def test_a_folder_that_is_none_is_told(subject, tmp_path):
    with pytest.raises(Refusal, match="There is no folder of tasks"):
        resolve(Question("evaluate", params={"folder": str(tmp_path / "missing")}), lambda ref: "0" * 64)


def test_without_the_harness_it_says_what_to_install(subject, monkeypatch):
    monkeypatch.setattr(session.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refusal, match="pip install"):
        PROBE.run(subject, None, parse("a1"), EvaluateParams())


def test_a_cancel_ends_the_process(subject, monkeypatch):
    started = []

    class Watched(session.subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(session.subprocess, "Popen", Watched)

    def progress(done, total, text):
        if total:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        PROBE.run(subject, None, parse("a1"), EvaluateParams(limit=3), progress)
    assert started[0].poll() is not None


# Keys


def test_the_folder_s_content_is_in_the_key_and_its_name_is_not(tmp_path):
    def key(folder: Path) -> str:
        return resolve(Question("evaluate", plan="a1", params={"folder": str(folder)}), lambda ref: "0" * 64).key

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.yaml").write_text("task: t")
    before = key(tmp_path / "one")
    assert before == key(tmp_path / "two")
    (tmp_path / "one" / "t.yaml").write_text("task: t2")
    assert key(tmp_path / "one") != before


def test_the_operator_names_a_folder(tmp_path, monkeypatch):
    def key() -> str:
        return resolve(Question("evaluate", plan="a1"), lambda ref: "0" * 64).key

    before = key()
    (tmp_path / "t.yaml").write_text("task: t")
    monkeypatch.setenv("PRUNESCOPE_TASKS", str(tmp_path))
    assert key() != before
