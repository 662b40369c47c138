"""Any value in config.json, of models of several families: it loads, or is refused in a sentence."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.loading.load import load
from models.subject import ModelRef
from refusal import Refusal
from tests.conftest import tiny_tokenizer
from tests.models.limited import limited
from tests.models.tiny import tiny_model

SIZES = st.sampled_from([0, -1, -4, 1, 2, 3, 7, 10**4, 10**6, 10**9, 2**31, 2**63, 10**30, 0.5, 1e308, -1e-9])
LEAVES = st.none() | st.booleans() | SIZES | st.floats() | st.text(max_size=9) | st.sampled_from(["float32", "linear", "auto"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
)
ROPE = st.dictionaries(st.sampled_from(["rope_type", "type", "factor", "rope_theta", "short_factor"]), VALUES, max_size=3)
MORE = ["rope_scaling", "rope_parameters", "quantization_config", "text_config", "auto_map", "num_experts", "pruned_heads"]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "deepseek_v2", "falcon-7b", "gemma2"])
def test_any_value(tmp_path_factory, family, caplog):
    folder = tmp_path_factory.mktemp(family)
    tiny_model(family).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    caplog.set_level(logging.CRITICAL, "transformers")

    @given(st.dictionaries(st.sampled_from([*config, *MORE]), VALUES | ROPE, min_size=1, max_size=2))
    @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    def check(values):
        (folder / "config.json").write_text(json.dumps(config | values))
        with limited(60):
            try:
                load(ModelRef(str(folder), device="cpu"))
            except Refusal as refusal:
                assert str(refusal) and "\n" not in str(refusal)

    check()
