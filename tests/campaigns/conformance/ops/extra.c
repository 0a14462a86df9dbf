/* The library that dependency.cc needs. */
#include <stdint.h>

int32_t envlock_extra_twice(int32_t value) { return 2 * value; }
