"""A plan as a GGUF file, which llama.cpp, Ollama and LM Studio run: the file that the model came from, rewritten."""

from plans.export.gguf.form import FORMAT
from plans.export.gguf.source import source_of
from plans.export.gguf.write import refusal, write

__all__ = ["FORMAT", "refusal", "source_of", "write"]
