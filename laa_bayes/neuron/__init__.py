"""What is the neuron, its current and its recording? Equation, simulator, priors, protocols, traces on a grid."""
