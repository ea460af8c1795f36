"""The version of the package, which setup.py reads from here."""

VERSION = '0.1.0'
