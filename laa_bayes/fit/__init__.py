"""How is an answer found? Training a network on simulations, and inferring the parameters of a recording."""
