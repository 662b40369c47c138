"""In how few dimensions keys live."""
