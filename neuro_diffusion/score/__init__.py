"""Is a posterior right? Scores against the truth, calibration, comparisons on held-out networks."""
