"""Random programs for tests and the self-test."""
