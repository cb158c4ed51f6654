"""Variants trained side by side, paired by seed, and what that says."""
