"""The ``kappa`` command: Typer commands, one module per noun. They parse and render."""
