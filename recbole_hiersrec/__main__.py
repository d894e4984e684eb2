"""`python -m recbole_hiersrec` is the command `hiersrec`."""

from recbole_hiersrec.cli import main

main()
