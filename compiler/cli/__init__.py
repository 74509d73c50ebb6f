"""The command line: the roof, the only code that may import every layer."""
