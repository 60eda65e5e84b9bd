"""Diagnosis of an image set before training: findings, and a cleaned copy."""
