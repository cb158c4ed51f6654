"""From a configuration and a split to a trained model in a folder."""
