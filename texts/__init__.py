"""Texts: corpora, prompts and items."""
