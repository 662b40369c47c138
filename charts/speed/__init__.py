"""Charts of speed."""
