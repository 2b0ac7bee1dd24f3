"""Which files can be read and written? One file a format; the only door to HDF5."""
