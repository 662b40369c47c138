"""What the app's numbers are. ``GLOSSARY`` has all entries by chapter; what stands first explains first."""

from probes.glossary import damage, keys, machine, redundancy, samples, searching, texts
from probes.glossary.entry import Entry

GLOSSARY: dict[str, tuple[Entry, ...]] = {
    "Damage": damage.ENTRIES,
    "Redundancy": redundancy.ENTRIES,
    "Keys": keys.ENTRIES,
    "Texts and choices": texts.ENTRIES,
    "Searching and comparing": searching.ENTRIES,
    "Samples and intervals": samples.ENTRIES,
    "Size, speed and storage": machine.ENTRIES,
}


def explained(label: str) -> Entry | None:
    """The entry of a number with such a label."""
    return next((entry for entries in GLOSSARY.values() for entry in entries if entry.explains(label)), None)
