"""What is the mathematics? Gaussian likelihood, ridge, diffusion, the denoising network."""
