"""Writing side by side: the same tokens as transformers, the same seed for everyone, and an end in time."""

from collections import Counter

import pytest
import torch
from tokenizers import Regex, normalizers

from measures.text import first_divergence
from models.generate import RUNNERS, Settings, Writer, prompt_tokens, write
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import parse
from refusal import Refusal
from tests.conftest import tiny_tokenizer
from tests.models.tiny import tiny_model, tokens
from tests.probes.subjects import plain_tokenizer, subject_of

PLANS = ["", "a0", "a1,m3", "b0", "b1-2,a4", "m0,m1,m2,m3,m4"]
NO_ATTENTION = "a0,a1,a2,a3,a4"


def written(model, plans, settings, prompt=None, context=None, tokenizer=None):
    """The tokens of each view, as lists of `Token`."""
    prompt = tokens(1, 7) if prompt is None else prompt
    views = [cut(subject_of(model), parse(plan)) for plan in plans]
    writers = [Writer(view, tokenizer or plain_tokenizer(), prompt, settings.temperature) for view in views]
    answers = [[] for _ in views]
    for place, token in write(writers, settings, context):
        answers[place].append(token)
    return answers


def ids(answer):
    return [token.id for token in answer]


def endless(name="llama"):
    """A tiny model that no token ends."""
    model = tiny_model(name)
    model.generation_config.eos_token_id = None
    return model


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "bloom", "falcon-7b", "deepseek_v2"])
def test_greedy_is_what_transformers_generates(name):
    model, prompt = endless(name), tokens(1, 7, seed=4)
    options = {"max_new_tokens": 24, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = model.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
    [answer] = written(model, [""], Settings(24), prompt)
    assert ids(answer) == expected[0, 7:].tolist()
    assert len(set(ids(answer))) > 1


@torch.inference_mode()
def recomputed(model, plan, prompt, length):
    """Greedy tokens, the whole text read again at each step."""
    view, text = cut(subject_of(model), parse(plan)), prompt
    for _ in range(length):
        text = torch.cat([text, view.logits(text)[:, -1:].argmax(-1)], 1)
    return text[0, prompt.shape[1] :].tolist()


@pytest.mark.parametrize("plan", [*PLANS, NO_ATTENTION, "b0-4"])
def test_greedy_of_a_view_is_what_full_recomputing_writes(plan):
    model = endless()
    [answer] = written(model, [plan], Settings(20))
    assert ids(answer) == recomputed(model, plan, tokens(1, 7), 20)


def test_probabilities_and_runners_are_those_of_the_softmax():
    model, prompt = endless(), tokens(1, 7)
    [answer] = written(model, ["a1"], Settings(5))
    text = torch.cat([prompt, torch.tensor([ids(answer)])], 1)
    chances = cut(subject_of(model), parse("a1")).logits(text).softmax(-1)[0]
    for step, token in enumerate(answer):
        here = chances[6 + step]
        assert token.probability == pytest.approx(here[token.id].item(), rel=1e-4)
        assert len(token.runners) == RUNNERS and token.runners[0][0] == f"{token.id} "
        assert [p for _, p in token.runners] == pytest.approx(here.topk(RUNNERS).values.tolist(), rel=1e-4)
        assert token.piece == f"{token.id} " and token.seconds > 0 and not token.ends


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_equal_models_draw_the_same_tokens(temperature):
    one, other = written(endless(), ["", ""], Settings(40, temperature, seed=5))
    assert ids(one) == ids(other)
    assert ids(one) != ids(written(endless(), [""], Settings(40, temperature, seed=6))[0])
    assert ids(one) == ids(written(endless(), [""], Settings(40, temperature, seed=5))[0])


def test_the_seed_does_not_matter_to_greedy():
    assert ids(written(endless(), [""], Settings(10, 0.0, 1))[0]) == ids(written(endless(), [""], Settings(10, 0.0, 2))[0])


class Dice:
    """A view whose every step has the same logits."""

    def __init__(self, logits):
        self.row = logits
        self.model = tiny_model("llama")

    def cache(self):
        return None

    def logits(self, read, cache=None, last=False):
        return self.row[None, None]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampled_frequencies_follow_the_softmax(temperature):
    """Pearson's χ² of 4000 draws over 6 tokens: with 5 degrees of freedom it exceeds 20.5 once in a thousand seeds."""
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0, 0.5, 1.5])
    expected = (logits / temperature).double().softmax(-1) * 4000
    writer = Writer(Dice(logits), plain_tokenizer(), torch.tensor([[0]]), temperature)
    dice = torch.Generator().manual_seed(11)
    seen = Counter()
    for _ in range(4000):
        writer.written.clear()
        writer.text = ""
        seen[writer.step(float(torch.rand((), generator=dice))).id] += 1
    chi = sum((seen[i] - expected[i].item()) ** 2 / expected[i].item() for i in range(6))
    assert chi < 20.5


@pytest.mark.parametrize("dice, token", [(0.0, 2), (0.49, 2), (0.51, 0), (0.79, 0), (0.81, 1), (0.99999994, 1)])
def test_the_dice_fall_on_tokens_from_likely_to_unlikely(dice, token):
    writer = Writer(Dice(torch.tensor([0.3, 0.2, 0.5]).log()), plain_tokenizer(), torch.tensor([[0]]), 1.0)
    assert writer.step(dice).id == token


def test_each_view_ends_at_its_own_end_of_text():
    model = endless()
    free, pruned = (ids(answer) for answer in written(model, ["", "b2"], Settings(30)))
    end = next(token for token in free[1:] if token != free[0])
    model.generation_config.eos_token_id = [end]
    one, other = written(model, ["", "b2"], Settings(30))
    assert ids(one) == free[: free.index(end) + 1]
    assert one[-1].ends and not any(token.ends for token in one[:-1])
    assert ids(other) == (pruned[: pruned.index(end) + 1] if end in pruned else pruned)


def test_the_tokenizer_may_name_the_end_of_text():
    model, tokenizer = endless(), plain_tokenizer()
    free = ids(written(model, [""], Settings(30))[0])
    tokenizer.eos_token_id = free[3]
    [answer] = written(model, [""], Settings(30), tokenizer=tokenizer)
    assert answer[-1].ends and len(answer) == free.index(free[3]) + 1


@pytest.mark.parametrize("context, count", [(None, 30), (1000, 30), (20, 14), (8, 2)])
def test_nobody_reads_beyond_the_context(context, count):
    """The last token is written and not read, so of a context of 20 a prompt of 7 leaves 13 to read and one more."""
    assert [len(each) for each in written(endless(), ["", "a0"], Settings(30), context=context)] == [count, count]


def test_the_cache_of_a_writer_is_measured():
    model = endless()
    view = cut(subject_of(model), parse("a0,a2"))
    writer = Writer(view, plain_tokenizer(), tokens(1, 7))
    assert writer.cache_bytes == 0
    for step in range(3):
        writer.step(0.5)
        assert writer.cache_bytes == (7 + step) * 3 * 2 * 2 * 8 * 4  # tokens, attentions, k and v, heads, head, bytes
    without = Writer(cut(subject_of(model), parse(NO_ATTENTION)), plain_tokenizer(), tokens(1, 7))
    without.step(0.5)
    assert without.cache_bytes == 0


def test_logits_that_are_not_numbers_are_refused():
    model = endless()
    model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(Refusal, match="The model's logits contain NaN or infinite values, so there is no next token"):
        written(model, [""], Settings(3))


@pytest.fixture(scope="module")
def subject(tiny_folder):
    return load(ModelRef(str(tiny_folder), device="cpu"))


class Script(Dice):
    """A view that is certain of each token of a text."""

    def __init__(self, ids):
        super().__init__(torch.full((300,), -50.0))
        self.ids = ids

    def logits(self, read, cache=None, last=False):
        """Without a cache the whole text is read: one token more at each step."""
        return self.row.scatter(0, torch.tensor([self.ids[read.shape[1] - 1]]), 50.0)[None, None]


@pytest.mark.parametrize("text", ["the capital of France", "wörld", "a 🙂 b", "日本 is Japan"])
def test_pieces_join_to_the_text(subject, text):
    """A byte-level token may be a part of a letter: what is shown in the end is the letter."""
    written = subject.tokenizer(text).input_ids
    writer = Writer(Script(written), subject.tokenizer, torch.tensor([[0]]))
    pieces = [writer.step(0.0).piece for _ in written]
    assert "".join(pieces) == text


def test_a_prompt_is_read_as_it_is_or_as_a_turn(subject):
    plain = prompt_tokens(subject.tokenizer, "Paris", chat=False)
    assert plain.shape[0] == 1 and subject.tokenizer.decode(plain[0]) == "Paris"
    turn = prompt_tokens(subject.tokenizer, "Paris", chat=True)
    assert subject.tokenizer.decode(turn[0]) == "<s>user: Paris</s><s>assistant: "


@pytest.mark.parametrize("prompt", ["", "  \n\t"])
@pytest.mark.parametrize("chat", [True, False])
def test_an_empty_prompt_is_refused(subject, prompt, chat):
    with pytest.raises(Refusal, match="prompt is empty"):
        prompt_tokens(subject.tokenizer, prompt, chat)


def test_a_prompt_of_which_no_token_is_left_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex("[^ -~]"), "")
    assert prompt_tokens(tokenizer, "Paris 巴黎", False).shape[1] > 0
    with pytest.raises(Refusal, match="turns the prompt into no tokens"):
        prompt_tokens(tokenizer, "巴黎", False)


def test_a_prompt_that_does_not_fit_is_refused(subject):
    count = len(subject.tokenizer("Paris " * 20).input_ids)
    assert prompt_tokens(subject.tokenizer, "Paris " * 20, False, count + 1).shape == (1, count)
    with pytest.raises(Refusal, match=f"has {count} tokens, but this model reads at most {count}"):
        prompt_tokens(subject.tokenizer, "Paris " * 20, False, count)


def test_a_tokenizer_without_a_template_is_refused_a_turn(subject):
    with pytest.raises(Refusal, match="no chat template"):
        prompt_tokens(plain_tokenizer(), "Paris", chat=True)


def test_divergence_is_the_plans_doing():
    """The first tokens come from equal dice: the answers part only where the models' odds do."""
    dense, pruned = written(endless(), ["", "b2"], Settings(40, 1.0, 3))
    place = first_divergence(ids(dense), ids(pruned))
    assert place is not None and ids(dense)[:place] == ids(pruned)[:place]
    assert subject_of(endless()).layers == 5
