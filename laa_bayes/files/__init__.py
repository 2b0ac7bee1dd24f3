"""What is in a file? Recordings of every format, banks of simulations, model folders and posterior files, in and out."""
