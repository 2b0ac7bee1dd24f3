"""What is the model? Designs, priors, solver and the fit of one population: arrays in, arrays out."""
