"""What an instruction touches: bounds, alignment, regions."""
