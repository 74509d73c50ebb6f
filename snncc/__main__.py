"""``python -m snncc``: the command line."""

from snncc.compiler.cli.entry import main

main()
