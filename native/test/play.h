/* A simulation of endpoints and requests in virtual time: all times are nanoseconds. */
#ifndef LIGHTPATH_PLAY_H
#define LIGHTPATH_PLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static const double ms = 1e6;
static const double second = 1e9;

/** Endpoints that are alike. */
struct kind {
  size_t count;
  double delay, stall, every;
  unsigned workers;
  uint32_t priority;
  /** After so many seconds they take requests and answer none. 0: never. */
  double hangs;
};

struct scene {
  const char *name;
  struct kind kinds[2];
  /** Requests a second. */
  double rate;
  /** The share of answers that take 5 to 50 ms longer, and what each takes longer at random, as a part. */
  double hiccups, jitter;
  double seconds;
  /** The second kind comes after so many seconds, with slow start for as many more; only requests of its first half count. 0: at once. */
  double joins;
};

struct result {
  double mean, p50, p99, p999;
  /** The second kind's share of the requests, and the most and least of one of the first kind, where 1 is even. */
  double second_kind, most, least;
};

/** Counts for once in a program. */
void play_seed(uint64_t seed);

/**
 * The first second does not count, as in bench/run.
 * @param learns by PEAK_EWMA, else by LEAST_REQUEST
 * @param spills endpoints of priority 1 are there
 */
struct result play(const struct scene *scene, bool learns, bool spills);

#endif
