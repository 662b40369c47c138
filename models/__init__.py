"""Models: where each architecture keeps its parts, leases, and views that share the weights."""
