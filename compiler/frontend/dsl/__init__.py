"""Reading `.snn` text."""
