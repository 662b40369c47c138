"""What samples can tell, and what they cannot."""
