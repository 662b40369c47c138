"""Speed and memory: what is compared with what, what the numbers are of, and to whom an answer belongs."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.lease import Leases, others_at_work
from models.loading.load import identify
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import parse
from probes.__main__ import main
from probes.base import as_dict, from_dict
from probes.question import Question, resolve
from probes.speed import machine as machines
from probes.speed import speed
from probes.speed.pace import SAME, pace
from probes.speed.runs import Run, resident, timed, warmed, weighed
from probes.speed.speed import PROBE, SpeedParams, SpeedResult
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import subject_of

SMALL = SpeedParams(batch=2, prompt=7, new=3, rounds=5)


def run(subject, plan="", params=SMALL, **more):
    return PROBE.run(subject, None, parse(plan), params, **more)


# The comparison


def test_a_plan_that_is_twice_as_fast_in_every_round_is_said_to_be():
    drift = np.linspace(1, 3, 10)  # the machine becomes slower; the pairs do not mind
    found = pace(2e-2 * drift, 1e-2 * drift, tokens=4)
    assert found.ratio == pytest.approx(2.0) and found.ratio_low == pytest.approx(2.0)
    assert found.says == "2.00 times as fast as dense (2.00 to 2.00)"
    assert found.dense == pytest.approx(np.median(2e-2 * drift)) and found.rate == pytest.approx(4 / found.pruned)
    assert found.dense_low < found.dense < found.dense_high
    assert pace(1e-2 * drift, 2e-2 * drift, 1).says.startswith("0.50 times")


def test_an_interval_that_contains_1_is_no_difference():
    dice = np.random.default_rng(0)
    dense, pruned = (dice.normal(1.0, 0.05, size=10) for _ in range(2))
    found = pace(dense, pruned, 1)
    assert found.ratio_low < 1 < found.ratio_high and found.says == SAME


def test_dense_against_itself_is_rarely_called_a_difference():
    dice = np.random.default_rng(1)
    wrong = sum(pace(*dice.lognormal(0, 0.1, size=(2, 10)), 1).says != SAME for _ in range(200))
    assert wrong < 30  # a level of 95 % promises 10; with ten rounds it is a little more


def test_models_take_turns_and_every_second_round_goes_backwards(monkeypatch):
    seen = []

    def written(run):
        seen.append("dense" if len(run.view.attentions) == 5 else "pruned")
        return 1.0, 1.0

    monkeypatch.setattr(speed, "timed", written)
    run(subject_of(tiny_model("llama")), "a1")
    assert "".join(each[0] for each in seen) == "dppddppddp"


# What is run


@pytest.mark.parametrize("name", TINY)
def test_every_family_can_be_asked(name):
    found = run(subject_of(tiny_model(name)), "a1,m2")
    for phase in (found.prefill, found.decode):
        assert min(*phase.seconds, *phase.dense_seconds) > 0 and len(phase.seconds) == 5
    assert 0 < found.memory.cache < found.memory.dense_cache
    assert found.memory.weights < found.memory.dense_weights


@torch.inference_mode()
def test_decoding_uses_a_cache_and_ends_where_a_full_pass_does():
    view = cut(subject_of(tiny_model("llama")), parse("a0"))
    ids = tokens(2, 12)
    made = Run(view, ids[:, :8], ids[:, 8:])
    cache = view.cache()
    made.prefill(cache)
    torch.testing.assert_close(made.decode(cache)[:, -1], view.logits(ids)[:, -1], rtol=1e-4, atol=1e-5)
    assert cache.get_seq_length() == 12


def test_a_model_without_any_attention_is_timed_a_token_at_a_time():
    subject = subject_of(tiny_model("llama"))
    found = run(subject, "a0,a1,a2,a3,a4")
    assert found.memory.cache == found.memory.cache_expected == 0 and found.decode.pruned > 0


def test_a_longer_decode_takes_longer_but_not_per_step():
    view = cut(subject_of(tiny_model("llama")))
    short, long = (Run(view, tokens(1, 8), tokens(1, count)) for count in (4, 64))
    for each in (short, long):
        warmed(each, "dense")
    seconds = [min(timed(each)[1] for _ in range(5)) for each in (short, long)]
    assert seconds[1] > 4 * seconds[0]


def test_progress_is_told_between_runs_and_may_stop_them():
    class Cancelled(Exception):
        pass

    def progress(done, total, text):
        assert done <= total
        if text == "round 2 of 5":
            raise Cancelled

    with pytest.raises(Cancelled):
        run(subject_of(tiny_model("llama")), "a1", progress=progress)


# Memory


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "deepseek_v2"])
def test_the_cache_is_as_large_as_counted(name):
    found = run(subject_of(tiny_model(name)), "a1,a3").memory
    assert found.cache == found.cache_expected and found.dense_cache == found.dense_cache_expected > found.cache
    assert found.cache * 5 == found.dense_cache * 3


def test_a_sliding_window_keeps_less_than_counted():
    found = run(subject_of(tiny_model("mistral")), params=replace(SMALL, prompt=30)).memory
    assert 0 < found.dense_cache < found.dense_cache_expected


def test_the_resident_set_sees_what_a_work_takes_also_the_second_time():
    def work():
        return [torch.ones(250_000) for _ in range(100)]  # 100 MB, in pieces that an allocator likes to keep

    for _ in range(3):
        before, peak = resident(work)
        assert 90e6 < peak - before < 200e6


def test_the_peak_holds_the_prompt_that_is_read():
    subject = subject_of(tiny_model("llama", max_position_embeddings=1024, hidden_size=64))
    before, peak = weighed(Run(cut(subject), tokens(16, 512), tokens(16, 1)))
    assert peak - before > 16 * 512 * 64 * 4  # one state, in bytes
    assert run(subject).memory.kind == "resident set of the whole process"


# Whose answer it is


def asked(**more):
    return resolve(Question("speed", **more), lambda _: "0" * 64)


def test_another_machine_another_device_and_other_threads_have_another_key(monkeypatch):
    here = asked()
    assert here.key == asked().key and here.record["machine"]["threads"] == torch.get_num_threads()
    assert asked(model=ModelRef(device="split")).key != here.key
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        assert asked(model=ModelRef(device="cpu")).key == here.key
    with monkeypatch.context() as patch:
        patch.setattr(machines.platform, "node", lambda: "elsewhere")
        assert asked().key != here.key
    with monkeypatch.context() as patch:
        patch.setattr(machines.torch, "get_num_threads", lambda: 96)
        assert asked().key != here.key


def test_the_name_of_the_machine_is_not_kept():
    assert machines.platform.node() not in json.dumps(asked().record)


def test_answers_that_are_no_times_belong_to_every_machine(monkeypatch):
    here = resolve(Question("fidelity", plan="a1"), lambda _: "0" * 64)
    monkeypatch.setattr(machines.platform, "node", lambda: "elsewhere")
    assert resolve(Question("fidelity", plan="a1"), lambda _: "0" * 64).key == here.key and "machine" not in here.record


def test_the_circumstances_name_the_device_and_the_load():
    found = run(subject_of(tiny_model("llama"))).circumstances
    assert (found.device, found.dtype, found.threads) == ("cpu", "float32", torch.get_num_threads())
    assert found.load_before >= 0 and found.busy_elsewhere >= 0 and found.device_name


def test_another_job_meanwhile_is_noticed(tiny_folder, monkeypatch):
    """It begins after the first round and is over before the last."""
    leases, real = Leases(), speed.timed
    rounds = []

    def other():
        with leases.lease(ModelRef(str(tiny_folder), device="cpu")):
            pass

    def busy(run):
        rounds.append(run)
        if len(rounds) == 3:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        return real(run)

    monkeypatch.setattr(machines, "QUIET", 1e9)  # other processes may do what they like
    with leases.lease(ModelRef(str(tiny_folder), device="cpu")) as subject:
        assert run(subject).circumstances.says == "measured on an otherwise idle machine"
        monkeypatch.setattr(speed, "timed", busy)
        found = run(subject).circumstances
    assert not found.quiet and found.others == 1 and "1 other job ran in this process" in found.says


def test_who_holds_a_model_is_counted_and_oneself_is_not(tiny_folder):
    leases, begun, end = Leases(), threading.Event(), threading.Event()
    ref = ModelRef(str(tiny_folder), device="cpu")

    def hold():
        with leases.lease(ref):
            begun.set()
            assert end.wait(60)

    before = others_at_work()
    with leases.lease(ref):
        assert others_at_work() == (before[0], before[1] + 1)
    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60) and others_at_work()[0] == before[0] + 1
    end.set()
    thread.join()
    assert others_at_work() == (before[0], before[1] + 2)


def test_work_of_other_processes_is_noticed(monkeypatch):
    everybody, clock, ours = iter([100.0, 190.0]), iter([0.0, 30.0]), iter([10.0, 40.0])
    monkeypatch.setattr(machines, "_busy", lambda: next(everybody))
    monkeypatch.setattr(machines.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(machines, "_ours", lambda: next(ours))
    found = machines.Watch().over(torch.device("cpu"), torch.float32, "sdpa")
    assert found.busy_elsewhere == pytest.approx(2.0, abs=0.01 * machines.os.cpu_count()) and not found.quiet
    assert found.says == "measured on a busy machine: other processes took 2.0 cores"


def test_a_tick_of_the_clock_is_no_work_of_others(monkeypatch):
    everybody, clock, ours = iter([100.0, 100.06]), iter([0.0, 0.03]), iter([10.0, 10.05])
    monkeypatch.setattr(machines, "_busy", lambda: next(everybody))
    monkeypatch.setattr(machines.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(machines, "_ours", lambda: next(ours))
    assert machines.Watch().over(torch.device("cpu"), torch.float32).quiet


# What is refused


@pytest.mark.parametrize("given", [{"batch": 0}, {"prompt": 0}, {"new": -1}, {"rounds": 4}])
def test_values_that_cannot_be_measured(given):
    with pytest.raises(Refusal):
        SpeedParams(**given)


def test_more_tokens_than_the_model_reads():
    with pytest.raises(Refusal, match="120 tokens and 9 new ones are 129, but this model reads at most 128"):
        run(subject_of(tiny_model("llama")), params=SpeedParams(prompt=120, new=9))


def test_logits_that_are_not_numbers():
    model = tiny_model("llama")
    model.model.layers[2].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(Refusal, match="dense model's logits contain NaN"):
        run(subject_of(model))


# From a shell


def test_the_shell_takes_parameters_as_options_and_finds_the_answer_again(tiny_folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    words = ["speed", "--model", str(tiny_folder), "--plan", "a3", "--batch", "1", "--prompt", "8", "--new", "2", "--json", "-"]
    documents = []
    for _ in range(2):
        assert main(words) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert [each["about"]["from_cache"] for each in documents] == [False, True]
    result = documents[0]["result"]
    assert result == documents[1]["result"] and result["prompt"] == 8 and result["decode"]["ratio"] > 0
    assert documents[0]["question"]["machine"]["id"]
    question = Question("speed", ModelRef(str(tiny_folder)), plan="a3", params={"batch": 1, "prompt": 8, "new": 2})
    assert resolve(question, identify).record["params"]["rounds"] == 10


def test_a_result_survives_the_store():
    found = run(subject_of(tiny_model("llama")), "a1")
    assert from_dict(SpeedResult, as_dict(found)) == found
