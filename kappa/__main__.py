"""``python -m kappa``."""

from kappa.cli.app import main

main()
