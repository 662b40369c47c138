"""What each drop costs, measured by dropping it."""
