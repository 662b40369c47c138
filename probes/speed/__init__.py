"""How fast a pruned model is and what memory it takes, against the dense one on the same machine."""
