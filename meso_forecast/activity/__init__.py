"""What is activity? Windows, splits, preprocessing and covariates of traces, without any file."""
