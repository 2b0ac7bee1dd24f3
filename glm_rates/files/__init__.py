"""Which formats come in and go out? Recordings, the folder between the stages, and results."""
