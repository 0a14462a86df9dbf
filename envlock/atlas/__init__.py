"""What every TensorFlow release exports to plugins, and the class layouts that plugins bake in."""
