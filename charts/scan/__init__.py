"""What each drop costs, and what a skipped layer changes."""
