"""Configs for code that was written for older transformers, which does not know ``rope_parameters``."""

from typing import Any


def spelled_out(raw: dict[str, Any]) -> dict[str, Any]:
    """A config.json that says its rotary embedding in the old words, too.

    Without ``rope_theta`` at the top, older code silently takes 10000.
    """
    rope = raw.get("rope_parameters") or {}
    if "rope_theta" not in rope:
        return raw
    kind = rope.get("rope_type", "default")
    scaling = None if kind == "default" else {key: value for key, value in rope.items() if key != "rope_theta"}
    return raw | {"rope_theta": rope["rope_theta"], "rope_scaling": scaling}
