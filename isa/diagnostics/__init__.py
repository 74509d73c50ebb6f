"""Errors: their codes, their one shape."""
