"""How is a forecaster fitted? Training of networks, and the registry of all forecasters."""
