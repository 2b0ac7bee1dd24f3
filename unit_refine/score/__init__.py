"""How good is a model, and what does it say about units it has not seen?"""
