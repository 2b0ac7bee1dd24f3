"""How do results look on paper? Figures and report pages."""
