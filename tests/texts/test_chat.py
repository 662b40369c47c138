"""Chat templates: what transformers would make of them, and none that takes the process, the memory or the time."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from refusal import Refusal
from tests.conftest import tiny_tokenizer
from texts import chat
from texts.chat import rendered

ROOT = Path(__file__).parent.parent.parent
TURNS = [{"role": "user", "content": "the capital\n of «France»"}, {"role": "assistant", "content": " Paris, "}]
USER = TURNS[:1]
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def tokenizer_of(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    "template",
    [
        tiny_tokenizer().chat_template,
        "{{ bos_token }}{% for m in messages %}{% if loop.index0 == 9 %}{% break %}{% endif %}{{ m | tojson }}\n{% endfor %}",
        "{%- set ns = namespace(n=0) -%}{% for m in messages %}{% set ns.n = ns.n + m.content | length %}{% endfor %}"
        "{% for m in messages %}{{ m.content | trim }}{% endfor %}{{ ns.n }}{{ eos_token }}",
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}{{ strftime_now('%Y') }}",
        {"default": "{{ messages[0].content }}", "tool_use": "{{ 1 }}"},
    ],
    ids=range(5),
)
def test_it_is_the_text_that_transformers_makes(template):
    tokenizer = tokenizer_of(template)
    for turns in (USER, TURNS):
        own = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert rendered(tokenizer, turns) == own


def test_a_turn_is_left_open_as_transformers_leaves_it():
    tokenizer = tokenizer_of("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}")
    own = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=False, continue_final_message=True)
    assert rendered(tokenizer, TURNS, answering=False) == own and own.endswith(" Paris, ")


@pytest.mark.parametrize(
    "template, says",
    [
        (LOOP, "it takes too long"),
        ("{{ 10 ** (10 ** 9) }}", "it takes too long"),
        ("{{ 'x' * 10**10 }}", "more than 512 MB"),
        ("{{ messages | tojson(indent=10**9) }}", "more than 512 MB"),
        ("{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "more than 512 MB"),
        ("{{ 'x' * 10**7 }}", "more than 4,000,000 characters"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recurses endlessly"),
        ("{{ messages.__class__.__mro__ }}", "accesses what it must not"),
        ("{{ cycler.__init__.__globals__.os.environ }}", "accesses what it must not"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ raise_exception('Only users may speak.\nSo.') }}", r"cannot be used \(Only users may speak\)\. Turn it off"),
        ("{{ messages[5].content }}", "has no element 5"),
        ("{{", "unexpected"),
        ("x" * 2_000_000, "longer than 1,000,000 characters"),
        ({"other": "x"}, "it has no default template"),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_template_that_does_harm_costs_nothing_but_its_answer(template, says):
    taken = psutil.Process().memory_info().rss
    with pytest.raises(Refusal, match=says) as caught:
        rendered(tokenizer_of(template), USER)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
    assert psutil.Process().memory_info().rss - taken < 10**8
    assert rendered(tiny_tokenizer(), USER).endswith("<s>assistant: ")


def test_a_child_that_is_gone_is_started_again():
    rendered(tiny_tokenizer(), USER)
    chat._RENDERER._process.kill()
    chat._RENDERER._process.wait()
    assert rendered(tiny_tokenizer(), USER)


def test_a_child_that_ends_in_the_middle_says_so():
    """As when the system takes it for its memory."""
    rendered(tiny_tokenizer(), USER)
    child = chat._RENDERER._process
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(rendered, tokenizer_of(LOOP), USER)
        while psutil.Process(child.pid).cpu_percent(0.05) < 10:  # it has begun to compute
            assert not asked.done()
        child.send_signal(signal.SIGKILL)
        with pytest.raises(Refusal, match="ended with code -9"):
            asked.result()


def test_many_threads_get_their_own_texts():
    tokenizer = tiny_tokenizer()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: rendered(tokenizer, [{"role": "user", "content": f"<{i}>"}]), range(100)))
    assert [f"<{i}>" in text for i, text in enumerate(found)] == [True] * 100


def test_it_takes_no_time_once_the_child_is_there():
    tokenizer = tiny_tokenizer()
    rendered(tokenizer, USER)
    begun = time.perf_counter()
    for _ in range(20):
        rendered(tokenizer, USER)
    assert (time.perf_counter() - begun) / 20 < 0.02  # seconds


def test_the_child_sees_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("SECRET_OF_MINE", "x")
    chat._RENDERER._end()
    rendered(tiny_tokenizer(), USER)
    assert "SECRET_OF_MINE" not in psutil.Process(chat._RENDERER._process.pid).environ()


def test_an_endless_template_ends_though_its_parent_was_killed():
    program = (
        "import sys; from tests.texts.test_chat import *\n"
        "rendered(tiny_tokenizer(), USER); print(chat._RENDERER._process.pid, flush=True)\n"
        "rendered(tokenizer_of(LOOP), USER)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, env=dict(os.environ))
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(60)
