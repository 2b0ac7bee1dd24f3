"""Is the estimated rate right? Held-out scores, rivals, calibration; arrays in, named results out."""
