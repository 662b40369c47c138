"""A checkpoint that was pruned before it came here is shown as a plan that drops what it lacks."""

from plans.export.export import understood
from plans.export.registry import FORMATS
from refusal import silent
from tests.plans.export.exporting import order_of


def test_the_model_page_says_what_a_checkpoint_lacks(tiny_folder, tmp_path, visit):
    out = tmp_path / "out"
    out.mkdir()
    FORMATS["noop"].write(understood(order_of(tiny_folder, "a1,m2", "noop")), out, silent)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes((tiny_folder / name).read_bytes())
    visitor = visit("model", model=out)
    assert "already pruned: `a1,m2` removes the attention of layer 1; the MLP of layer 2" in visitor.at.info[0].value
    assert visitor.anatomy.layers == 4


def test_nothing_is_said_of_a_whole_model(visit):
    assert not visit("model").at.info
