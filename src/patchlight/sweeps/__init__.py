"""The jobs of a sweep, and what they report."""
