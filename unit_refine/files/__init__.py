"""Which units, labels and models are in these files, and how do answers get back into them?"""
