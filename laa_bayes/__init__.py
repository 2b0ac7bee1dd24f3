"""Which membrane capacitance, leak, resting potential, activation slope and threshold explain a voltage trace, and how sure is each?

The Leaky Adaptive Activation (LAA) neuron is one equation,

    C_m dV/dt = -g_L (V - E_L) + I_ext(t) + G_act sigma((V - V_thr) / k),    sigma(x) = 1 / (1 + exp(-x)).

A neural posterior estimator (BayesFlow, coupling flow) is trained once on simulations; a new trace then takes milliseconds. Because the
dynamics are deterministic and the noise is Gaussian the likelihood is known, so every answer is checked and refined against the exact
posterior, and a trace that the model cannot explain is called misspecified.

Input: a current-clamp trace (CSV, HDF5, NWB, ABF) with its current. Output: posterior draws with units, diagnostics, a verdict.

Sources: Radev et al. 2020 (BayesFlow), Talts et al. 2018 and Saeilynoja et al. 2022 (simulation-based calibration),
Vehtari et al. 2024 (Pareto-smoothed importance sampling), Chopin 2002 (sequential Monte Carlo), Hoffman & Gelman 2014 (NUTS).
"""
