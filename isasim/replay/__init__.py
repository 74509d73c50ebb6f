"""Programs that are planned once and replayed."""
