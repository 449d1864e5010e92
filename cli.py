"""Starts the ``kappa`` command from a checkout."""

from kappa.cli.app import main

main()
