"""What `snncc check` finds out about a model."""
