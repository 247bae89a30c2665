"""Identical code against itself, and known slowdowns: what this machine, and other tools on it, can and cannot see."""
