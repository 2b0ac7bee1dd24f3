"""What is a rate network? Weights, simulator, activity, anatomical sub-networks."""
