"""What a key holds: texts that come with the app count like those that are given."""

from dataclasses import replace

import pytest

from probes import PROBES
from probes.question import Question, resolve

OWN = {"prompts": "Why is the sky blue?", "items": '{"question": "1 + 1 =", "options": ["2", "3"], "answer": 0}'}


def key(probe, **params):
    return resolve(Question(probe, params=params), lambda ref: "0" * 64).key


@pytest.mark.parametrize("probe, field", [(name, field) for name, probe in PROBES.items() for field in probe.builtin])
def test_built_in_texts_are_part_of_the_key_where_they_are_used(monkeypatch, probe, field):
    given = {field: OWN[field]} if hasattr(PROBES[probe].params(), field) else {}
    before, own = key(probe), key(probe, **given)
    monkeypatch.setitem(PROBES, probe, replace(PROBES[probe], builtin={field: "another text"}))
    assert key(probe) != before
    assert not given or key(probe, **given) == own != before
