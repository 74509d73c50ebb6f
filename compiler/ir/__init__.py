"""The one SSA structure of all stages: text, parser, verifier, op definitions."""
