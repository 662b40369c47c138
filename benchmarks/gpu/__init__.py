"""How fast PruneScope is on a GPU, with random weights made there: ``make bench-gpu`` prints a Markdown table."""
