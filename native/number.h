/* A number in a configuration. */
#ifndef LIGHTPATH_NUMBER_H
#define LIGHTPATH_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "envoy.h"

/** Nothing is 0. @return false for what is no number, or a huge one */
static inline bool number_of(struct envoy_text text, uint64_t *number) {
  *number = 0;
  for (size_t i = 0; i < text.length; i++) {
    if (text.start[i] < '0' || text.start[i] > '9' || *number > 1000000) return false;
    *number = *number * 10 + (uint64_t)(text.start[i] - '0');
  }
  return true;
}

#endif
