"""Speed, memory and accuracy of softdp beside its reference and other people's packages."""
