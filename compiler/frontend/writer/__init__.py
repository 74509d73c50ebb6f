"""Writing the rolled graph as graph IR."""
