"""The instruction table and its encoding and text."""
