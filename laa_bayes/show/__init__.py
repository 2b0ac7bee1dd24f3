"""What does a person see? Figures and report pages."""
