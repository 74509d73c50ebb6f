"""A NIR file evaluated by NIR's equations: the reference of its import."""
