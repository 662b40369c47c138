"""Which plan costs least under a budget."""
