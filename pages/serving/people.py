"""Who is asking: somebody who logged in, whom a trusted proxy names, or the one person at this machine."""

import os
from dataclasses import dataclass
from ipaddress import ip_address

import streamlit as st
from streamlit import config
from streamlit.auth_util import get_secrets_auth_section

from refusal import Refusal
from settings import Settings, listens, settings

LOCAL, SOMEBODY = "local", "somebody"  # names where nobody logs in: at this machine, and where the operator opened the app
_NAME = 200  # characters of a name that a header gives


@dataclass(frozen=True)
class Person:
    """Who is asking.

    Attributes
    ----------
    name : str
        As login or proxy give it; ``local`` on a machine of one's own.
    operator : bool
        May forget everybody's answers and end everybody's jobs.
    """

    name: str
    operator: bool


def person() -> Person:
    """Who is asking, in this session.

    Raises
    ------
    Refusal
        People log in here, and this one has not; or the app listens beyond this machine and nobody was said to log in.
    """
    now, login = settings(), login_configured()
    refuse_open(now, login)
    if login:
        return _of(_logged_in(), now)
    if now.user_header:
        return _of(_named_by_proxy(now), now)
    return Person(SOMEBODY, "*" in now.operators) if beyond() else Person(LOCAL, True)


def may_forget() -> bool:
    """Whether this person may remove what everybody sees: answers, notes, kept texts."""
    return person().operator and not settings().demo


def beyond() -> bool:
    """Whether the server listens beyond this machine."""
    address = config.get_option("server.address")
    if address is None or address == "":
        return True  # all interfaces
    try:
        return not ip_address(address).is_loopback
    except ValueError:
        return address != "localhost"


def tell_reach() -> None:
    """Tell the layers below whether other people reach this process; a proxy in front of it lets them in, too."""
    listens(beyond() or login_configured() or bool(settings().user_header))


def refuse_open(now: Settings, login: bool) -> None:
    """Refuse to serve beyond this machine where nobody has to log in, unless the operator says so.

    Raises
    ------
    Refusal
        It says what to set.
    """
    if beyond() and not (login or now.user_header or now.open):
        raise Refusal(
            "PruneScope listens beyond this machine, and no login is required. Configure a login ([auth] in "
            ".streamlit/secrets.toml), or name the header of a proxy that has one (PRUNESCOPE_USER_HEADER and "
            "PRUNESCOPE_PROXIES), or listen on localhost; PRUNESCOPE_OPEN=yes lets in anyone who reaches the port."
        )


def refuse_start() -> None:
    """Refuse to start a server that could not tell who is asking.

    Raises
    ------
    Refusal
        As `refuse_open`; or the server would take addresses for those of a proxy from a header that anybody may write.
    """
    now = settings()
    refuse_open(now, bool(get_secrets_auth_section()))
    if now.user_header and os.environ.get("FORWARDED_ALLOW_IPS", "unset"):
        raise Refusal(
            "PRUNESCOPE_USER_HEADER is set, and the web server would replace the proxy's address with what "
            "X-Forwarded-For says. To prevent that, set FORWARDED_ALLOW_IPS to an empty value (FORWARDED_ALLOW_IPS=)."
        )


def login_configured() -> bool:
    """Whether secrets configure a login by OIDC; Streamlit then says of everybody whether they are logged in."""
    return "is_logged_in" in st.user


def _logged_in() -> str:
    user = st.user
    if not user.get("is_logged_in"):
        raise Refusal("Log in to use PruneScope.")
    email = user.get("email") if user.get("email_verified", True) else None
    return str(email or user.get("sub") or "")


def _named_by_proxy(now: Settings) -> str:
    """The name in the header, where a trusted proxy speaks; Streamlit gives no address for this machine's own."""
    peer = ip_address(st.context.ip_address or "127.0.0.1")
    peer = getattr(peer, "ipv4_mapped", None) or peer
    given = st.context.headers.get_all(now.user_header) if any(peer in each for each in now.proxies) else []
    if len(given) != 1 or not given[0].strip():
        raise Refusal(
            "PruneScope is used through a proxy that says who you are, and this request did not come from it. Open the address "
            "that your operator gave you."
        )
    return given[0].strip()[:_NAME]


def _of(name: str, now: Settings) -> Person:
    if not name:
        raise Refusal("The login gave no name, neither an email address nor a subject. Ask your operator.")
    return Person(name, "*" in now.operators or name in now.operators)
