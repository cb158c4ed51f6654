"""What is trained and tested on: annotations, features, pairs, and data sets to begin with."""
