"""Rules about what surrounds the plugin: TensorFlow's build, libraries, run time, processor."""
