"""What tests of every part need: a data directory of their own, and a tiny model as a folder."""

import gc
import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: for tiny models, threads mostly wait for each other

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_SLOW = ("test_evaluate.py", "test_worker.py", "test_drop_scan.py", "test_bad_input.py")  # files that take a minute or more
_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


@pytest.hookimpl(tryfirst=True)  # before xdist looks
def pytest_collection_modifyitems(items):
    """Where several processes share the work, all that reads the bundled model goes to one of them, and each file to one.

    So the model is unpacked once and is in memory once, and what a file prepares for its tests is prepared once. What takes
    longest comes first, so that no process has a long file left when the others have none.
    """
    here, place = Path(__file__).parent, {}
    for item in items:
        bundled = item.get_closest_marker("real") or here / "browser" in item.path.parents
        item.add_marker(pytest.mark.xdist_group("bundled" if bundled else item.nodeid.partition("::")[0]))
        slow = here / "serving" in item.path.parents or item.path.parent == here or item.path.name in _SLOW
        place[item] = 0 if bundled else 1 if slow else 2
    items.sort(key=place.__getitem__)


def pytest_collection_finish():
    """Do not look through the libraries and the tests for garbage, hundreds of times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def data(tmp_path_factory) -> Path:
    """The data directory of this run, so that tests never meet what a person has kept."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNESCOPE_DATA", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A random Llama of 4 layers, width 32, with a byte-level tokenizer of 300 tokens, saved as a folder.

    Its norms are random too: with norms of 1, a wrong drop can hide.
    """
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.normal_(1.0, 0.2)
            else:
                weight.mul_(5)
    model.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: 256 bytes, two special tokens and the merges of one sentence."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the capital of France is Paris, and the capital of the arts"] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = _TEMPLATE
    return fast


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium; where there is none, CI fails and a person is told what to install."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        why = "There is no Chromium here: install it with `apt install chromium`, or run .ci/run, which does."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    return found


@pytest.fixture(scope="session")
def browser(chromium):
    """One Chromium for all tests."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # milliseconds; the first visitor waits until torch is imported
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()
