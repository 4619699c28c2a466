"""`python -m shuren.cli`: the same as the program `shuren`."""

from shuren.cli import main

main()
