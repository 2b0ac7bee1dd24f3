"""neuropipes pipeline meso_forecast."""
