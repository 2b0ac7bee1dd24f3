"""Which network answers at once? Summary networks, the coupling flow, and a trained model with all that it assumes."""
