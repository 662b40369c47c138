"""Plans: sequences of operations that make a model smaller."""
