"""Which parameters explain a trace? The exact likelihood, draws from its posterior, what they say, whether to believe them."""
