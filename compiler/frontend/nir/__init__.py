"""Reading NIR files."""
