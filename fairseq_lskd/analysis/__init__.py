"""What label smoothing erases, measured: on tensors and arrays of any classifier, and on translation models."""
