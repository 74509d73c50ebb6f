"""Watching a run: hooks, traces, races."""
