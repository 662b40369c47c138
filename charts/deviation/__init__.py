"""Pictures of deviations."""
