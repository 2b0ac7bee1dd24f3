"""What does a person look at? Figures and pages."""
