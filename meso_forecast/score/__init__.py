"""How good is a forecast, and is the difference real? Arrays in, named numbers out."""
