"""Assembly text to object files and back."""
