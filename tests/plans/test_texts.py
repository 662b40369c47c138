"""Plans of links, notes and answers that people have kept: every text still names the plan that it named before."""

import pytest

from plans.plan import parse

# Recorded with the code of commit a34c76c, from README.md, docs/ and the tests of that time.
CANONICAL = """
a0 a0,a1,a2 a0,a1,a2,a3,a4 a0,a2 a0,b2 a0,m1 a0,m1,b3 a0,m2,b3 a0,m4 a0,w:wanda@0.5 a1 a1,b2 a1,b2-3 a1,b3-5,b9 a1,b4
a1,k:0.25/0.5 a1,k:0.5/0.25 a1,m0,b2-3 a1,m0,w:wanda@0.5 a1,m2 a1,m2,b3 a1,m3 a1,m99 a1,w:sparsegpt@0.5 a1,w:sparsegpt@2:4
a1,w:wanda@0.5 a1,w:wanda@0.5,k:0.5/0.5 a1,w:wanda@2:4/mlp a1,w:wanda@2:4/mlp,k:0.25/0.5 a14 a2 a2,m3,b0 a2,m3,b0-1 a20 a25
a25,a26 a25,a26,m3,b20-23 a25,b20-21 a3 a3,a7 a3,a7,m12,b20-23 a3,b20-23 a3,m12,b20-21 a3,m5 a3,w:wanda@0.5,k:0.25/0.5
a3,w:wanda@0.5,k:0.5/0.125 a3,w:wanda@2:4 a4 a4,b0-1,b3 a5,a6,a7 a7 a7,a25 a7,a25,a26,a28 a7,b20-23,w:wanda@0.5,k:0.25/0.5 a99
b0 b0,b29 b0-1 b0-2 b0-29 b0-3 b0-3,b7,b9,b28-29 b0-4 b1 b1,b3-4 b1,w:magnitude@0.5 b1-2 b1-29 b1-3 b1-4 b12-15 b2
b2,k:0.25/0.5 b2-3 b20-23 b21-28 b25 b29 b3 b3,k:0.25/0.5 b3,w:wanda@0.5 b4 k:0.25/0.25 k:0.25/0.5 k:0.5/0.125 k:0.5/0.5 m0
m0,b1 m0,b1-2 m0,b2-3 m0,b3 m0,m1,b3 m0,m1,m2 m0,m1,m2,m3,m4 m1 m1,m3 m12 m16,m17,m25,m26 m2 m2,k:0.5/0.5 m2,w:magnitude@0.5 m3
m4 w:magnitude@0.33,k:0.7/0.1 w:magnitude@0.5 w:magnitude@0.7,k:0.5/0.5 w:magnitude@2:4/mlp w:sparsegpt@0.5
w:sparsegpt@0.5,k:0.5/0.5 w:sparsegpt@2:4 w:sparsegpt@2:4/mlp w:sparsegpt@2:4/mlp,k:0.25/0.5 w:wanda@0.5 w:wanda@0.5,k:0.5/0.5
w:wanda@0.5/mlp w:wanda@2:4
""".split()
OTHERWISE = {
    "": "",
    " A1 ": "a1",
    " b23 b20-22; A7,a3 ,m12": "a3,a7,m12,b20-23",
    ",w:wanda@0.5": "w:wanda@0.5",
    "A0 b2; b1": "a0,b1-2",
    "A1": "a1",
    "K:0.250/.5 w:WANDA@0.50/all a3": "a3,w:wanda@0.5,k:0.25/0.5",
    "a0,m1,a1,b2": "a0,b1-2",
    "a0-4": "a0,a1,a2,a3,a4",
    "a1,a1": "a1",
    "a1,m1": "b1",
    "a25,a3,m12,b20-21": "a3,a25,m12,b20-21",
    "a3,m3": "b3",
    "a5-7": "a5,a6,a7",
    "b0,a3": "a3,b0",
    "b1,a2,m3": "a2,m3,b1",
    "b1,b3-4": "b1,b3-4",
    "b1-2,a0": "a0,b1-2",
    "b21-23,b2": "b2,b21-23",
    "b3,a3": "b3",
    "k:0.25/1": "",  # attention to all keys is the model as it is
}


@pytest.mark.parametrize(("written", "canonical"), [*((text, text) for text in CANONICAL), *OTHERWISE.items()])
def test_a_text_names_the_plan_that_it_named_before(written, canonical):
    assert str(parse(written)) == canonical
    assert parse(canonical) == parse(written)
