"""The pages in the order of the work: which question each answers, and which one comes next. app.py makes its menu of it.

Nothing heavy is imported here, so that the menu is there at once.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A page in the flow.

    Attributes
    ----------
    title, icon : str
        As in the menu.
    asks : str
        Two sentences: the question that the page answers, and how or what for.
    press : str
        What to press there, where it has no answer yet.
    then : str
        The page that comes next; empty: none.
    why : str
        What is done there, after "Next:".
    """

    title: str
    icon: str
    asks: str = ""
    press: str = ""
    then: str = ""
    why: str = ""


PLACES = {
    "model": Place(
        "Model", "deployed_code",
        "Which layers of a language model are redundant, and what does it say without them? Name a model in the sidebar, or "
        "start with the included one: SmolLM2-135M-Instruct has 30 layers and works offline.",
        "Load", "similarity", "find the layers that hardly change the residual stream",
    ),
    "similarity": Place(
        "Similarity", "layers",
        "Which attentions, MLPs and blocks hardly change what flows through the model? One pass over the text measures how far "
        "each changes the direction of the residual stream, and those that change it least are the first candidates to drop.",
        "Measure similarity", "scan", "see what dropping each part really costs",
    ),
    "scan": Place(
        "Drop scan", "radar",
        "What does each attention, MLP and block cost when it alone is left out? Every drop is measured on the text, so the "
        "ranking reflects real damage, with intervals, rather than a score.",
        "Scan all drops", "drop_lab", "drop parts and read what the model says without them",
    ),
    "key_rank": Place(
        "Key rank", "key",
        "How many dimensions do the keys of each head use? Where they use few, attention can select its keys in a subset of "
        "the dimensions and read less of the cache.",
        "Measure key rank", "drop_lab", "try it on a real answer, alongside drops",
    ),
    "drop_lab": Place(
        "Drop lab", "content_cut",
        "What does the model say without the parts that you drop? The dense and the pruned model answer one prompt side by "
        "side, with the differences marked, and the plan is measured on the text.",
        "Answer", "deviation", "find the layer, the token and the step at which the plan hurts",
    ),
    "deviation": Place(
        "Deviation", "ssid_chart",
        "At which layer, token and step does a pruned model diverge from the dense one? A plan can keep hidden states and "
        "multiple choice intact and still ruin the text that is generated.",
        "Measure the layers", "compare", "read many answers side by side, or vote on them blind",
    ),
    "compare": Place(
        "Compare", "compare",
        "How do answers change over many prompts and several plans? Read them side by side with the differences marked, or "
        "vote without knowing which is which; anyone with the link sees the same comparison.",
        "Compare", "decide", "search for plans under a budget, compare them, and export one",
    ),
    "decide": Place(
        "Decide", "balance",
        "Which plan is best under a budget? Search for plans, compare them with confidence intervals, time them, run "
        "tasks on them, and export the one you choose as a checkpoint.",
        "Search", "storage", "download everything that was measured as one report",
    ),
    "storage": Place(
        "Storage", "database",
        "What is stored on this machine, and what is running? Every answer is listed here with its size and age, and "
        "found again by whoever asks the same, until it is forgotten.",
        "Measure similarity",
    ),
    "tour": Place("Tour", "tour"),
    "glossary": Place("Glossary", "dictionary"),
}  # fmt: skip

# What tabs say before there is anything in them.
PARTS = {
    "plans": "Which plan is best? Every plan measured on this model is listed here with what it saves and what it costs, and "
    "any two can be compared. Press **Search** in the first tab, or **Measure this plan** in the Drop lab.",
    "speed": "Is the pruned model faster on this machine, and how much memory does it need? It runs alternately with the "
    "dense one, and each ratio comes with an interval. Press **Measure the speed**.",
    "tasks": "Does the pruned model still solve the tasks that the dense one solves? Both answer the same items, and the "
    "difference comes with a paired interval. Press **Run the tasks**.",
    "export": "How do you get a checkpoint that other programs load? Choose a format and a folder name; what is written is "
    "read back and compared with the pruned model. Press **Export**.",
    "stability": "Would another text have led to the same drops? The selection is repeated on other windows, on another text, "
    "with BOS and in the chat template. Press **Repeat the selection**.",
}
