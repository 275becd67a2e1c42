"""The version of the package, stated once; setup.py reads it from here."""

VERSION = "0.1.0"
