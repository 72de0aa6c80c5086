"""The version, in a module that every part of the library may import."""

__version__ = "0.1.0"
