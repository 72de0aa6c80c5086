"""The version, in a module that every part of the library may import."""

__version__ = "0.2.0.dev0"
