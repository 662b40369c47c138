"""Who is asking, by a login: Streamlit says of each session who logged in."""

import pytest
from streamlit import config

from settings import listens
from tests.pages.visitor import APP, unmarked


@pytest.fixture
def opened(link, monkeypatch):
    """Open the app as somebody of whom the login says so much."""
    from streamlit.testing.v1 import AppTest

    before = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    monkeypatch.setenv("PRUNESCOPE_OPERATORS", "grace@example.com, sub-7")

    def opened(**user):
        at = AppTest.from_file(str(APP), default_timeout=60)
        at.user = user
        at.query_params.update({name: str(value) for name, value in link.items()})
        at.run()
        assert not at.exception
        return at

    yield opened
    config.set_option("server.address", before)
    listens(False)


def names(at):
    return [unmarked(each.value) for each in at.sidebar.caption]


@pytest.mark.parametrize(
    "user, name",
    [
        ({"email": "ada@example.com"}, "ada@example.com"),
        ({"email": "grace@example.com", "sub": "x"}, "grace@example.com · operator"),
        ({"email": "grace@example.com", "email_verified": False, "sub": "sub-8"}, "sub-8"),
        ({"sub": "sub-7"}, "sub-7 · operator"),
        ({"email": "*"}, "*"),
        ({"email": "![x](http://a/b.png)"}, "![x](http://a/b.png)"),
    ],
)
def test_somebody_who_logged_in(opened, user, name):
    at = opened(is_logged_in=True, **user)
    assert name in names(at) and not at.error and at.button(key="log_out")


def test_somebody_who_did_not(opened):
    at = opened(is_logged_in=False)
    assert [each.value for each in at.error] == ["Log in to use PruneScope."]
    assert [each.key for each in at.button] == ["log_in"] and not at.text_input


def test_a_login_without_a_name(opened):
    at = opened(is_logged_in=True)
    assert "gave no name" in at.error[0].value and not at.text_input
