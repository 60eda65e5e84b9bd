"""Trained generators as files that need no Patchlight."""
