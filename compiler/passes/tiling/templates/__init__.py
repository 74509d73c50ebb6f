"""What the tiling templates are built with."""
