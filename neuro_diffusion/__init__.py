"""Which synaptic weight matrices could have produced the activity of a recurrent network?

A differentiable rate-network simulator, data sets of random and anatomical networks, a diffusion model that is prior p(W) and
posterior p(W | activity) at once, refinement, and a benchmark that always shows Bayesian ridge regression, which is enough when
data are plenty. Start with ``neuro-diffusion --help`` or the README beside this file.
"""
