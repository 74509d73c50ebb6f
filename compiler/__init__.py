"""From a model file to a program for every core, one folder per stage."""
