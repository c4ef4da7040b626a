/* The time that everything here measures with. */
#ifndef LIGHTPATH_CLOCK_H
#define LIGHTPATH_CLOCK_H

#include <stdint.h>
#include <time.h>

/** Nanoseconds since some moment, as the vDSO tells them. */
static inline uint64_t clock_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
