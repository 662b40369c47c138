"""The server: the app, `/ready` and `/metrics`, and the headers of every answer.  streamlit run asgi.py"""

import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from pages.serving import log, metrics, ready
from pages.serving.guard import Guard
from pages.serving.people import refuse_start
from refusal import Refusal

try:
    refuse_start()
    log.begin()
except Refusal as refusal:  # before anybody is let in; one line, and no traceback
    sys.exit(f"prunescope: {refusal}")

app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[Route("/ready", ready.answer), Route("/metrics", metrics.answer)],
    middleware=[Middleware(Guard)],
    lifespan=ready.lifespan,
)
