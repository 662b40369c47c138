"""Charts of tasks."""
