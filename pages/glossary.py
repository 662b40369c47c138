"""Every number of the app: what it is, how it is computed, which paper it is from, what is good, what it does not mean."""

import streamlit as st

from pages import shell
from probes.glossary import GLOSSARY
from probes.glossary.entry import Entry

shell.menu_first()


def _matches(entry: Entry, asked: str) -> bool:
    return all(word in f"{entry.term} {entry.help} {' '.join(entry.labels)}".lower() for word in asked.lower().split())


asked = st.text_input("Find", key="glossary_find", bind="query-params", placeholder="a word, such as KL or rank", width=420)
found = {title: [each for each in entries if _matches(each, asked or "")] for title, entries in GLOSSARY.items()}
if not any(found.values()):
    st.caption("No entry has these words. Try fewer of them.")
for title, entries in found.items():
    if entries:
        st.header(title, anchor=False)
    for entry in entries:
        st.markdown(f"**{shell.plain(entry.term)}**\n\n{entry.help}")
st.caption("The same texts are behind the question mark of each number and in the header of each column of numbers.")
