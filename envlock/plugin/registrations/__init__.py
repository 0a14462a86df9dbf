"""The ops and kernels that a plugin registers with TensorFlow."""
