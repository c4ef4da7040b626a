/*
 * How long a worker waits in place for a client's first bytes, while all its other connections wait, too. All times are nanoseconds.
 *
 * A client that speaks first does so some microseconds after its handshake; only on a busy machine it may take milliseconds. So clients
 * that say nothing, one after the other, use up the patience with their address: after four of them it is halved with each, until there
 * is none. Thousands of idle connections from one address cost the others of a worker thirty milliseconds. Whoever speaks after all
 * restores it.
 */
#ifndef LIGHTPATH_PATIENCE_H
#define LIGHTPATH_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "../envoy.h"

/** With a client of whose address nothing is known. */
enum { MOST_PATIENCE = 5000000 };

/** How long to wait for a client from this address; 0: not at all. */
int64_t patience_with(struct envoy_text ip, int64_t now);

/** @param waited since `now` of the call before */
void patience_learn(struct envoy_text ip, bool spoke, int64_t waited);

#endif
