"""Everything that is stored on a model as one HTML file."""
