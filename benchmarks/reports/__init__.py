"""Results made visible: each module turns records or answers into text. Nothing here computes a result."""
