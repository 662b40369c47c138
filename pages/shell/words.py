"""Words of others on a page: shown as they are, whatever markup is in them. Streamlit reads all text as Markdown."""

import streamlit as st

_MARKS = "\\`*_{}[]<>#$~|:!&"


def plain(text: str) -> str:
    """Any text, as Markdown that shows it as it is."""
    return "".join(f"\\{letter}" if letter in _MARKS else letter for letter in text)


def refused(why: object) -> None:
    """Say why not. Such sentences quote what somebody wrote, in a field or in a link."""
    st.error(plain(str(why)), icon=":material/error:")
