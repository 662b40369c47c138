"""The server: the app, `/ready` and `/metrics`, and the headers of every answer.  streamlit run asgi.py"""

import gc
import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from pages.serving import log
from pages.serving.guard import Guard
from pages.serving.people import refuse_start
from refusal import Refusal

try:
    refuse_start()
    log.begin()
except Refusal as refusal:  # before anybody is let in; one line, and no traceback
    sys.exit(f"prunescope: {refusal}")

# After it is known that the server may start: this imports torch. Before the first visitor comes, and on one thread: two that
# import the same libraries at once can meet half of a module.
from pages.serving import metrics, ready, splash
from pages.serving.stopping import until_stopped

# The libraries stay for good: whoever looks for garbage, with everybody waiting, need not go through them each time.
gc.collect()
gc.freeze()

app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[
        Route("/ready", ready.answer),
        Route("/metrics", metrics.answer),
        Route("/model", splash.home),
        *(Route(path, splash.answer) for path in splash.PATHS),
    ],
    middleware=[Middleware(Guard)],
    lifespan=until_stopped,
)
