"""Our own ops, built on many TensorFlow releases and tried for real on many others."""
