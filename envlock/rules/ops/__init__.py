"""Rules about what TensorFlow would do with the plugin's ops and kernels."""
