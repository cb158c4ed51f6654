"""The network, the model of a configuration, and its checkpoints."""
