"""What is minimised: terms by name, one file a variant."""
