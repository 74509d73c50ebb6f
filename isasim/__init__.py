"""The bit-exact simulator: values, and time from the same instructions."""
