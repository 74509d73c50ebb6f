"""What the mapping passes share."""
