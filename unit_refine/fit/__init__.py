"""Which model is learned from labelled units, and how is it chosen?"""
