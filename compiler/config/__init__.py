"""The training configuration: schema, checks, origin of every value."""
