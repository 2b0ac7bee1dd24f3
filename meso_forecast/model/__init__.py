"""What is a forecaster? The mathematics of linear maps, networks, corrections and spreads."""
