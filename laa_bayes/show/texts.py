"""What do the reports say in words? Explanations, and names of scores as a reader knows them."""

CALIBRATION_TEXT = (
    "Simulation-based calibration asks whether the truth is an ordinary draw from the posterior. It cannot see lost information: a "
    "network that ignores half of the trace passes it with intervals that are too wide. The next section therefore compares with the exact posterior."
)

FURTHER_TEXT = (
    "Half of the 95 % interval of the main parameter, now and as it would be after further measurements of the same cell. It assumes that "
    "the favoured model is right and that the cell does not change."
)

CONTRACTION_TEXT = (
    "Contraction (1 - posterior variance / prior variance, median over test traces) of the exact posterior, which is taken as normal about "
    "the true parameters: what the data allow, whatever the network makes of them. Above .5 of variance left a parameter is not identified."
)

TERMS = (
    "Ranks: how many of the draws lie below the true value; uniform where the posterior is calibrated. 'Log gamma' compares their "
    "distribution with the 99 % and the 95 % band of uniform ranks: below zero it leaves the band. 'Largest distance': of the "
    "ranks' distribution function from the uniform one. Contraction: 1 - posterior variance / prior variance. z: (mean - truth) / sd."
)

CALIBRATION_NAMES = {
    "log_gamma_01": "log gamma, 99 % band", "log_gamma_05": "log gamma, 95 % band",
    "ecdf_distance": "ranks, largest distance from uniform", "ecdf_distance_se": "its standard error",
    "coverage_50": "truth inside the 50 % interval", "coverage_50_se": "standard error of the 50 %",
    "coverage_90": "truth inside the 90 % interval", "coverage_90_se": "standard error of the 90 %",
    "calibration_error": "mean error of 19 coverages", "contraction": "contraction, median", "median_z": "z, median",
    "bias": "bias (prior sd)", "recovery_r": "correlation of mean and truth",
}  # fmt: skip
FINDING_NAMES = {
    "coverage_50": "truth inside the 50 % interval", "coverage_90": "truth inside the 90 % interval",
    "calibration_error": "mean error of 19 coverages", "contraction": "contraction, median", "median_z": "z, median",
}  # fmt: skip

MODELS_TEXT = (
    "Favoured: {}. The same noise, initial voltage and series resistance for all, each at its posterior mode; evidence "
    "importance-sampled about it, with its standard error. The passive membrane is kept unless another is better by 6 in BIC; models within 6 of the favoured one are not excluded."
)
