"""Plans under a budget."""
