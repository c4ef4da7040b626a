/*
 * How fast endpoints answer: one table for all workers and clusters of an Envoy, by address and port. It is in a file where that can be,
 * which the agent reads (src/envoy/program/latencies.ts): it takes Envoy no time to be asked.
 */
#ifndef LIGHTPATH_LATENCY_H
#define LIGHTPATH_LATENCY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../envoy.h"

/** IPv4 as in ::ffff:0:0/96 (RFC 4291). */
struct address {
  uint8_t ip[16];
  uint16_t port;
};

/** A row of the file, as the machine has it in memory. Times are of CLOCK_MONOTONIC, in nanoseconds. */
struct endpoint {
  /** A row without a port is nobody's. */
  struct address address;
  /** The share of tries that fail, of ALWAYS. */
  _Atomic uint32_t failing;
  /** Since when it is known. */
  _Atomic uint64_t since;
  /** When its last try ended. */
  _Atomic uint64_t seen;
  /** Until the first byte of an answer, nanoseconds; 0: unknown. */
  _Atomic uint64_t latency;
  /** That ended, and those of them that failed. */
  _Atomic uint64_t tries;
  _Atomic uint64_t failures;
};

/** Rows. Endpoints beyond them are unknown: those of the namespaces that have most. */
#ifndef MOST_ENDPOINTS
#define MOST_ENDPOINTS 32768
#endif
#define ALWAYS 65536

/** The time in which an estimate follows what is seen, and is forgotten where nothing is; nanoseconds. */
#define LATENCY_TAU 10e9
/**
 * An answer moves the estimate by this part of the difference at least, a slower one as far as a faster one. By the peak of peak EWMA,
 * which takes a slower answer as it is, every stall of a busy machine would be remembered as an endpoint's: with 3 % of the answers up
 * to 50 ms late, even endpoints got 0.95 to 1.05 of the even share with this, and 0.76 to 1.38 where slower answers moved it by a tenth
 * (test/simulation.c).
 */
#define LATENCY_STEP 0.03
/**
 * Of the first tries the fastest counts, and until then nobody knows how fast the endpoint is: a program's first answers are slow,
 * and who were judged by them would get no others.
 */
#define LATENCY_LEARNT 5
/** Each try moves the share that fails by this part at least, so that one failure among many is little. */
#define FAILING_STEP 0.05

/** How a try ended. */
struct outcome {
  /** Until the first byte or, without one, until the end; nanoseconds. */
  double latency;
  /** The endpoint has answered, and well. Otherwise an answer would have taken so long at least. */
  bool answered;
  bool failed;
};

struct estimate {
  /** Nanoseconds; 0: unknown. Falls while nothing is seen of the endpoint, so that it is tried again. */
  double latency;
  /** As it was when something was seen last. */
  double known;
  /** The share of tries that fail, 0 to 1. */
  double failing;
};

/** Names the directory of the file, `endpoints-1`, or `endpoints-2` where another process has that. Counts before the table's first use. */
void latency_keep_in(struct envoy_text directory);

/** @return false where the text is no address */
bool latency_parse(struct envoy_text ip, uint32_t port, struct address *address);

/** A row, for as long as it is the endpoint's: until then its `since` is this one. NULL: there was no room. */
struct place {
  struct endpoint *endpoint;
  uint64_t since;
};

/** The endpoint stays in the table until it is released, or an endpoint of a namespace with fewer wants its place. */
struct place latency_acquire(const struct address *address, struct envoy_text namespace, uint64_t now);
void latency_release(struct place place);

void latency_observe(
    const struct address *address, struct envoy_text namespace, const struct outcome *outcome, uint64_t now);
/** All 0 where the place is another's. */
struct estimate latency_estimate(struct place place, uint64_t now);


#endif
