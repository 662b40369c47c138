"""A plan in the words of other tools: what is kept, what is dropped, and what cannot be said."""

import json
import re
import shlex
from itertools import pairwise

import pytest

from models.subject import ModelRef
from plans.drops import dropped
from plans.exports import FORMATS, Given, kept_ranges
from plans.operation import Shape
from plans.plan import parse
from texts.corpus import CorpusRef

LAYERS = 30
REF = ModelRef("owner/model", "v1")
ALL = "b0-29"
CORPUS = CorpusRef("tale", 3, 128)


def written(name, plan, ref=REF, layers=LAYERS, corpus=CORPUS):
    return FORMATS[name].write(Given(ref, layers, parse(plan), corpus))


def ranges_of(text):
    """The half-open ranges of a mergekit file."""
    return [(int(a), int(b)) for a, b in re.findall(r"layer_range: \[(\d+), (\d+)\]", text)]


@pytest.mark.parametrize("plan", ["b0", "b29", "b20-23", "b0-3,b7,b9,b28-29", "b1-29"])
def test_kept_ranges_are_the_complement(plan):
    ranges = kept_ranges(LAYERS, parse(plan))
    kept = [i for begin, end in ranges for i in range(begin, end)]
    assert kept == sorted(set(range(LAYERS)) - dropped(parse(plan)).blocks)
    assert all(before[1] < after[0] for before, after in pairwise(ranges)), "ranges touch"


def test_nothing_or_everything_dropped():
    assert kept_ranges(LAYERS, parse("")) == [(0, 30)]
    assert kept_ranges(LAYERS, parse(ALL)) == []


def test_mergekit_ranges_end_before_their_second_number():
    assert ranges_of(written("mergekit", "b21-28")) == [(0, 21), (29, 30)]
    assert ranges_of(written("mergekit", "b0,b29")) == [(1, 29)]


def test_mergekit_is_a_passthrough_of_one_model():
    text = written("mergekit", "b21-28")
    assert text.count('- model: "owner/model@v1"') == text.count("- sources:") == 2
    assert "merge_method: passthrough" in text and text.startswith("# removes layers 21–28 (8 layers)")


@pytest.mark.parametrize("name", ["mergekit", "llama.cpp"])
@pytest.mark.parametrize("plan", ["a3", "m3", "a3,b20-23", "m0,b1", ALL])
def test_formats_of_blocks_refuse_sublayers_and_everything(name, plan):
    assert written(name, plan) is None
    assert "whole blocks" in FORMATS[name].cannot


def test_llm_drop_lists_a_dropped_block_in_both():
    assert json.loads(written("LLM-Drop", "a25,a3,m12,b20-21")) == {
        "drop_attn_list": [3, 20, 21, 25],
        "drop_mlp_list": [12, 20, 21],
    }
    lists = json.loads(written("LLM-Drop", ALL))
    assert lists["drop_attn_list"] == lists["drop_mlp_list"] == list(range(30))


def test_llama_cpp_names_the_blocks():
    assert written("llama.cpp", "b21-23,b2").split()[:3] == ["llama-quantize", "--prune-layers", "2,21,22,23"]


def test_our_own_format_spells_everything_out_and_reads_back():
    own = json.loads(written("PruneScope", "a3,m12,b20-21"))
    assert own["plan"] == "a3,m12,b20-21" and own["layers"] == 30
    assert (own["model"], own["revision"]) == ("owner/model", "v1")
    assert own["drop_attention"] == [3, 20, 21] and own["drop_mlp"] == [12, 20, 21]
    assert own["says"] == parse(own["plan"]).sentence(Shape(30))


@pytest.mark.parametrize("name", ["owner/model", "/models/it's here", "a; rm -rf b"])
def test_the_shell_line_asks_the_same_question(name):
    words = shlex.split(written("Shell", "a3,b20-23", ModelRef(name, "v1")))
    assert words[:4] == ["python", "-m", "probes", "fidelity"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    corpus = {"--corpus": "tale", "--windows": "3", "--length": "128"}
    assert given == {"--model": name, "--revision": "v1", "--plan": "a3,b20-23", "--json": "plan.json"} | corpus


def test_the_shell_line_keeps_dtype_and_device():
    """Without them it would be another question, with other numbers."""
    words = shlex.split(written("Shell", "a3", ModelRef("owner/model", dtype="bfloat16", device="cpu")))
    assert words[words.index("--dtype") + 1] == "bfloat16" and words[words.index("--device") + 1] == "cpu"
    assert not {"--dtype", "--device", "--revision", "--bos"} & set(
        shlex.split(written("Shell", "a3", ModelRef("owner/model")))
    )


def test_the_shell_line_keeps_the_text_and_how_it_is_cut():
    """A plan that learns does so from what follows the measured windows: with other windows it is another model."""
    words = shlex.split(written("Shell", "w:wanda@0.5", corpus=CorpusRef("my notes.txt", 5, 77, bos=True)))
    assert words[words.index("--corpus") + 1] == "my notes.txt" and "--bos" in words
    assert words[words.index("--windows") + 1] == "5" and words[words.index("--length") + 1] == "77"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_is_and_has_a_file(name):
    form = FORMATS[name]
    assert form.what.endswith(".") and "." in form.file and form.language
    assert written(name, "b3").endswith(("\n", "}"))


@pytest.mark.parametrize("name", ['a"b', "a: b", "#"])
def test_a_name_stays_one_text_in_yaml(name):
    line = next(line for line in written("mergekit", "b3", ModelRef(name)).splitlines() if "model:" in line)
    assert json.loads(line.partition("model: ")[2]) == name


@pytest.mark.parametrize("plan", ["b3,w:wanda@0.5", "b3,k:0.25/0.5"])
def test_what_drops_alone_cannot_say_is_not_left_out_silently(plan):
    for name in ("mergekit", "LLM-Drop", "llama.cpp"):
        assert written(name, plan) is None and FORMATS[name].cannot
    assert parse(json.loads(written("PruneScope", plan))["plan"]) == parse(plan)
    assert plan in shlex.split(written("Shell", plan))


def test_what_is_thinned_out_is_spelled_out():
    told = json.loads(written("PruneScope", "w:sparsegpt@2:4/mlp,k:0.25/0.5"))["operations"]
    assert told == {
        "weights": {
            "text": "w:sparsegpt@2:4/mlp",
            "sparsity": {"method": "sparsegpt", "ratio": 0.5, "group": 4, "modules": "mlp"},
        },
        "keys": {"text": "k:0.25/0.5", "shares": {"dims": 0.25, "top": 0.5, "whole": False}},
    }
    assert json.loads(written("PruneScope", "a3"))["operations"] == {}


def test_mergekit_is_told_what_to_load_and_in_which_dtype(tmp_path):
    def lines(name, dtype="float32"):
        return FORMATS["mergekit"].write(Given(ModelRef(name), LAYERS, parse("b3"), CORPUS, dtype)).splitlines()

    assert "a 4-bit copy of HuggingFaceTB/SmolLM2-135M-Instruct" in lines("bundled")[1]
    assert '      - model: "HuggingFaceTB/SmolLM2-135M-Instruct"' in lines("bundled") and "dtype: float32" in lines("bundled")
    assert "reads no GGUF" in lines("some.gguf")[1]
    assert f'      - model: "{tmp_path}"' in lines(str(tmp_path)) and "on this machine" in lines(str(tmp_path))[1]
    assert lines("owner/model")[1] == "slices:" and "dtype: bfloat16" in lines("owner/model", "bfloat16")
