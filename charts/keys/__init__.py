"""Pictures of keys."""
