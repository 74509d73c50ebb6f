"""Model files, the scripts that make them, and data-set loaders."""
