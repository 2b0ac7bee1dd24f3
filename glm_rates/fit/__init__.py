"""How does a recording become fits? Extraction, populations, and the interpreters that both stages run in."""
