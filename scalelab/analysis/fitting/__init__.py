"""The numeric core of a fit. Depends on NumPy and SciPy only: no pandas, no store."""
