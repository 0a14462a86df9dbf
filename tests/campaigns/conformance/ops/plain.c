/* A shared library that has nothing to do with TensorFlow. */
int envlock_plain(int value) { return value + 1; }
