"""What an export reads and writes."""
