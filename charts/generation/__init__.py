"""Answers side by side, and what people say of them."""
