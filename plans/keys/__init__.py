"""Attention to few keys."""
