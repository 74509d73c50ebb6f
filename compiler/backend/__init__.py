"""Core IR to instructions and object files, and the reports about them."""
