"""Pictures of multiple choice."""
