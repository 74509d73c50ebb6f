"""Pass registry, pass manager, pipelines and dumps."""
