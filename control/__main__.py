"""`python -m control` is the command line, too: for processes that start one another."""

from control.cli import main

main()
