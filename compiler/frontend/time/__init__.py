"""Time steps: where they are in the file, and rolling unrolled ones up."""
