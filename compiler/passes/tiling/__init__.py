"""Dataflow and tile sizes under the machine's memory limits."""
