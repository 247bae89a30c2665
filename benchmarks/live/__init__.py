"""Two things alive at once, timed in alternation, so that drift cancels: `ab`. Computes, never prints."""
