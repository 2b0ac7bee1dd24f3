"""What does each verb do? One file a verb: load, compute, save, one line."""
