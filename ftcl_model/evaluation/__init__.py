"""Scored videos, and how good what is found in them is."""
