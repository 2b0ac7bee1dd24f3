"""neuropipes pipeline glm_rates."""
