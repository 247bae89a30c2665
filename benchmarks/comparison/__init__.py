"""Did it change? Verdicts on two runs, or on two things that are measured live side by side. Computes, never prints."""
