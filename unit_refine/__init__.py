"""neuropipes pipeline unit_refine."""
