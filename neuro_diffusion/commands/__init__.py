"""Which verbs are there? One file a verb: load, compute, save, one line."""
