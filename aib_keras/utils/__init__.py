"""Helpers without a home of their own: argument checks, files, optional imports."""
