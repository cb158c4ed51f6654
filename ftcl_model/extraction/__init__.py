"""From videos to the features that training reads, and from segments to what annotators open."""
