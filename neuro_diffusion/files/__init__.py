"""What stands in files and folders? Every format in and out; the only room that reads and writes."""
