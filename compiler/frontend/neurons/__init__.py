"""Neurons recognised by what is computed."""
