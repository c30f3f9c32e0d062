"""How sure a fit is: bootstrap, profile, covariance, noise, backtests, averages over forms, diagnostics."""
