"""A page of its own, as somebody would write it who adds a probe: it asks, and shows what it is told."""

import streamlit as st

from pages import shell

shell.anatomy_or_stop()
answer = shell.ask("toy", "Count the tokens", "How many tokens the text has, times a factor.", params={"factor": 3})
if answer is None:
    shell.stop()
st.metric("Tokens", answer.result.count, delta=answer.result.heaviest)
shell.provenance(answer)
