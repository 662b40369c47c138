"""What a model's folder must be before anything is built from it."""
