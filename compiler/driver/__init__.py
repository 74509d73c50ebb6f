"""What the commands and the Python interface share: import, compile, run, train."""
