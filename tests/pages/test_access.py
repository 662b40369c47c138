"""What visitors may see and do where others reach the app; the sessions are real ones, beside each other in one process."""

import json

import pytest
from streamlit import config

from pages.kept.report import _composed
from probes.question import Question, resolve
from settings import data_directory, listens
from tests.pages.visitor import Visitor
from texts.corpus import text_digest

SECRET = "the password of the capital of France is swordfish. " * 40


@pytest.fixture
def address():
    """Let the server listen on an address, as Streamlit's configuration says it."""
    before = config.get_option("server.address")
    yield lambda given: config.set_option("server.address", given)
    config.set_option("server.address", before)
    listens(False)


@pytest.fixture
def reached(address, monkeypatch, tiny_folder):
    """The app is open to everybody who reaches the port."""
    address("0.0.0.0")
    monkeypatch.setenv("PRUNESCOPE_OPEN", "yes")
    monkeypatch.setenv("PRUNESCOPE_ROOTS", str(tiny_folder))


def pasted(visitor, text=SECRET):
    """Paste a text and make it the corpus; returns its name."""
    visitor.go("model").at.text_area(key="own_text").set_value(text).run()
    return visitor.click("own_use").at.session_state["corpus"]


@pytest.mark.parametrize("given", ["0.0.0.0", "::", "192.168.1.2", None, "", "somewhere"])
def test_without_a_login_the_app_does_not_listen_beyond_this_machine(address, given):
    address(given)
    visitor = Visitor()
    [error] = visitor.errors()
    assert "listens beyond this machine, and no login is required" in error and "PRUNESCOPE_OPEN=yes" in error
    assert not visitor.at.text_input and not visitor.at.button and "SmolLM2" not in visitor.texts()


@pytest.mark.parametrize("given", ["localhost", "127.0.0.1", "127.0.0.2", "::1"])
def test_on_this_machine_everybody_is_the_local_operator(address, given):
    address(given)
    assert not Visitor().errors()


def test_settings_that_cannot_be_read_are_told(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PRUNESCOPE_WINDOWS", "many")
        [error] = Visitor().errors()
    assert error.startswith("PRUNESCOPE_WINDOWS is 'many'")


@pytest.mark.parametrize("name", ["/etc/passwd", "/etc", "{tmp}/own", "../x"])
def test_a_path_is_no_model_for_visitors(reached, tmp_path, name):
    (tmp_path / "own").mkdir()
    visitor = Visitor(model=name.format(tmp=tmp_path))
    visitor.click("load").wait()
    assert any("opens models only from" in each for each in visitor.errors())
    assert any("opens models only from" in each for each in visitor.click("estimate_button").errors())


def test_a_path_is_no_text_for_visitors(reached, visit, tmp_path):
    (tmp_path / "passwd.txt").symlink_to("/etc/passwd")
    for path in (tmp_path / "passwd.txt", "/etc/hosts.txt"):
        visitor = visit("similarity", corpus=path)
        assert any("opens texts only from" in each for each in visitor.errors()) and not visitor.has("ask_similarity")


def test_the_text_of_another_is_not_named_anywhere(reached, visit):
    ada, eve = visit(), visit()
    name = pasted(ada)
    ada.go("similarity").click("ask_similarity").wait()
    [entry] = ada.answers
    told = json.dumps([each.about for each in ada.bench.store.entries()])
    assert name not in told and name.removeprefix("text:") not in told
    [row] = eve.go("storage").table("hits")
    assert row["text"].startswith("own text ") and row["text"][-6:] not in name
    compared = resolve(Question("key_rank", ada.ref, params={"other": name}), ada.bench.known.identify)
    assert name not in json.dumps(compared.record) and compared.record["params"]["other"] == row["text"]
    for guess in (f"text:{entry.about['question']['corpus']['text']}", row["text"], f"text:{row['text'][-6:]}"):
        other = visit("similarity", corpus=guess)
        assert other.errors() and not other.has("ask_similarity") and not other.figures()


def test_an_answer_on_a_text_is_found_by_whoever_pastes_the_same(visit):
    ada, eve = visit(), visit()
    pasted(ada)
    ada.go("similarity").click("ask_similarity").wait()
    assert pasted(eve) != ada.at.session_state["corpus"]
    assert eve.go("similarity").figures()


def test_forget_everything_removes_kept_texts(visit):
    visitor = visit()
    name = pasted(visitor)
    visitor.go("similarity").click("ask_similarity").wait()
    kept = data_directory() / "texts" / f"{name.removeprefix('text:')}.txt"
    assert kept.read_text() == SECRET
    visitor.go("storage").click("forget_all").wait()
    assert not kept.exists() and not visitor.answers
    assert any("not kept on this machine" in each for each in visitor.go("similarity").errors())


def test_a_report_for_others_leaves_the_texts_of_their_owners_out(reached, visit):
    ada = visit("drop_lab", plan="a1")
    digest = text_digest(pasted(ada))
    ada.go("drop_lab").click("ask_fidelity").wait()
    known = ada.bench.known
    assert "swordfish" in _composed(known, ada.ref, "", digest)
    assert "There are no answers" in _composed(known, ada.ref, "", "")


def test_only_an_operator_forgets_what_is_everybodys(reached, visit, monkeypatch):
    visitor = visit("similarity").click("ask_similarity").wait().go("storage")
    assert not visitor.has("forget_all") and not visitor.has("forget") and "only an operator" in visitor.texts()
    visitor.go("decide").open("decide", "Plans").at.text_input(key="plan").set_value("a1").run()
    assert "No plan has been measured" in visitor.texts() and not visitor.has("note_forget")
    monkeypatch.setenv("PRUNESCOPE_OPERATORS", "*")
    assert visitor.go("storage").has("forget_all") and visitor.go("decide").open("decide", "Plans").has("note_forget")


def test_a_demonstration_takes_and_forgets_nothing(monkeypatch, visit):
    visitor = visit("similarity").click("ask_similarity").wait()
    monkeypatch.setenv("PRUNESCOPE_DEMO", "yes")
    visitor.go("storage")
    assert not visitor.has("forget_all") and not visitor.has("bundle_take") and "demonstration" in visitor.texts()
    assert not visitor.go("model").has("own_use") and "not accept texts of your own" in visitor.texts()
    visitor.at.text_input(key="plan").set_value("a1").run()
    assert not visitor.go("compare").at.get("file_uploader")
    visitor.go("decide").open("decide", "Plans")
    assert "No plan has been measured" in visitor.texts() and not visitor.has("note_forget")
    assert not visitor.open("decide", "Export").has("export") and "does not write checkpoints" in visitor.texts()
    assert visitor.bench.executor.leases.release() == 1
    visitor.look().click("load").wait()
    assert any("demonstration with the bundled model alone" in each for each in visitor.errors())


def test_a_limit_is_told_in_the_place_of_the_button(visit, monkeypatch):
    visitor = visit("similarity")
    monkeypatch.setenv("PRUNESCOPE_WINDOWS", "1")
    assert "at most 1 window per question, not 2" in visitor.look().errors()[0] and not visitor.has("ask_similarity")
    visitor.at.number_input(key="windows").set_value(1).run()
    assert visitor.whole().click("ask_similarity").wait().figures()


def test_a_limit_that_was_lowered_since_the_button_was_drawn_holds(visit, monkeypatch):
    visitor = visit("similarity")
    monkeypatch.setenv("PRUNESCOPE_TOKENS", "63")
    visitor.click("ask_similarity").wait()
    assert "at most 63 tokens" in visitor.errors()[0] and not visitor.answers


def test_an_answer_is_as_long_as_the_operator_allows(visit, monkeypatch):
    visitor = visit("drop_lab", plan="a1", answer_length=9)
    monkeypatch.setenv("PRUNESCOPE_NEW_TOKENS", "8")
    visitor.click("answer")
    assert any("at most 8 tokens after a prompt, not 9" in each for each in visitor.errors()) and not visitor.bench.lives()
    assert visitor.look().at.number_input(key="answer_length").max == 8
    visitor.at.number_input(key="answer_length").set_value(8).run()
    assert [len(each) for each in visitor.click("answer").wait().bench.lives()[0].tokens] == [8, 8]


def test_one_person_has_as_many_jobs_as_the_operator_allows(visit, slow, monkeypatch):
    visitor = visit("similarity")
    monkeypatch.setenv("PRUNESCOPE_JOBS", "1")
    visitor.click("ask_similarity")
    assert slow.begun.wait(60)
    visitor.go("drop_lab").at.text_input(key="plan").set_value("a1").run()
    visitor.click("ask_fidelity")
    assert "1 job queued or running" in visitor.errors()[0] and len(visitor.bench.jobs.list()) == 2
    visitor.click("answer")
    assert "1 job queued or running" in visitor.errors()[0]
    slow.gate.set()
    visitor.wait().click("ask_fidelity").wait()
    assert len(visitor.answers) == 2
