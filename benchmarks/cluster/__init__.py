"""A run on many machines: cases are handed out, measured by the ordinary scheduler of each machine, and come back as events."""
