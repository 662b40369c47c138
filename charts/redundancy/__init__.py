"""Pictures of redundancy."""
