"""What the graph passes share."""
