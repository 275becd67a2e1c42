"""Measurements. Each is a command; figures in the README come from these alone."""
