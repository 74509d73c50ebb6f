"""Counting and pricing what happened."""
