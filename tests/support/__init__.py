"""What several test suites share: TensorFlow environments, built plugins, real load outcomes."""
