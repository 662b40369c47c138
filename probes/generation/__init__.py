"""What models write, side by side, and which of it people prefer."""
