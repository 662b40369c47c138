"""How fast PruneScope is, as ratios of medians measured side by side: ``make bench``."""
