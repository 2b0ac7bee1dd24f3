"""How is something learned from data? Training, inference of one recording, refinement."""
