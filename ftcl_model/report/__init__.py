"""Pages and pictures of what a trained model does."""
