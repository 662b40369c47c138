"""Results as plotly figures: pure functions, one file per probe, one shared style; Streamlit is not known here.

Every point that can be clicked has the text of a plan (``a25``, ``b21-28``) as the first element of its ``customdata``.
"""
