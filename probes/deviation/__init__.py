"""How far a plan moves states, logits, probabilities and texts."""
