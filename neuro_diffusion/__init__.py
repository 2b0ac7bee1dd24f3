"""neuropipes pipeline neuro_diffusion."""
