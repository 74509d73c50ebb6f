"""What the engines' instructions compute, in plain numpy, over any memory."""
