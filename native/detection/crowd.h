/*
 * How many clients of one address a worker has wait for their first bytes at once. When their time is over Envoy goes on with all that are
 * due in one turn of its loop, a connection to an endpoint each, and all other connections of the worker wait for that turn. Whoever is
 * beyond goes on at once, in a turn of its own.
 */
#ifndef LIGHTPATH_CROWD_H
#define LIGHTPATH_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#include "../envoy.h"

/** Far more than connect at once and are silent without meaning it. */
enum { MOST_IN_CROWD = 64 };

/** What who waits gives back when it does so no more. */
struct crowd_place {
  bool is_taken;
  uint32_t slot;
};

/** @return no place (`is_taken` false) where as many of this address wait as may */
struct crowd_place crowd_join(struct envoy_text ip);

void crowd_leave(struct crowd_place place);

#endif
