"""Pure maths on tensors; nothing here knows a model."""
