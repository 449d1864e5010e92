"""``kappa doctor``: looks at everything kappa stands on and says what is wrong with it."""
