"""The commands: one file each, and what they share to talk to a user."""
