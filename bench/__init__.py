"""How fast kappa is, measured beside what one would write by hand."""
