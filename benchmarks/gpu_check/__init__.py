"""What the kernels have to show on the first GPU they meet: ``make gpu-check``."""
