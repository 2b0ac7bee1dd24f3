"""Can an answer be believed? Calibration, coverage and sharpness of a trained network against the exact posterior."""
