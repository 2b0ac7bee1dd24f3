"""What does a person see? Figures and report pages, made from scores and forecasts."""
