"""Benchmarks against the peers; not part of the installed package."""
