"""How does a person see results? Figures and report pages."""
