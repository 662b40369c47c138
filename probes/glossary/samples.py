"""How certain a number is."""

from probes.glossary.entry import Entry

ENTRIES = (
    Entry(
        "95 % interval",
        ("from", "to", "*interval*"),
        "Where the number would lie on other samples of the same kind.",
        "2.5 % and 97.5 % of 2,000 or more bootstrap means over windows, items or prompts; Wilson's interval for the share of "
        "equal choices",
        "two plans differ where the interval of their paired difference excludes 0",
        "other kinds of text: it knows only the windows that were read.",
        "Efron and Tibshirani 1993",
    ),
    Entry(
        "Samples",
        ("samples", "windows"),
        "What the number is a mean of.",
        "counted: windows of text, or items",
        "below six there is no verdict",
        "tokens.",
    ),
)
