"""Django sessions in Valkey, through the official client GLIDE."""

__version__ = "0.1.0"
