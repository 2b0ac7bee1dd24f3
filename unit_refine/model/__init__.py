"""How do metrics become class probabilities, and probabilities decisions?"""
