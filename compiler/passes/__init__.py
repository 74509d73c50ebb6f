"""The passes, one file each, one folder per stage."""
