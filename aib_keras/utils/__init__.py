"""Helpers: argument checks, atomic files, optional imports, suggestions."""
