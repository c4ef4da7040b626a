#include "patience.h"

#include "../slot.h"

enum {
  SLOTS = 256,
  /** So many silent clients, one after the other, are waited for as others are; so many, hardly. */
  TOLERATED = 4,
  HOPELESS = TOLERATED + 7,
  /** A worker's share of the time for waits, whosever clients they are for, and how much of it is saved up: forty waits. */
  SHARE = 4,
  MOST_SAVED = 40 * MOST_PATIENCE,
};

static _Thread_local uint8_t silent[SLOTS];
static _Thread_local int64_t saved = MOST_SAVED, since;

int64_t patience_with(struct envoy_text ip, int64_t now) {
  if (since != 0) saved += (now - since) / SHARE;
  if (saved > MOST_SAVED) saved = MOST_SAVED;
  since = now;
  uint8_t count = silent[slot_of(ip, 0) % SLOTS];
  if (saved < MOST_PATIENCE || count == HOPELESS) return 0;
  return count < TOLERATED ? MOST_PATIENCE : MOST_PATIENCE >> (count - TOLERATED);
}

void patience_learn(struct envoy_text ip, bool spoke, int64_t waited) {
  saved -= waited;
  uint8_t *count = &silent[slot_of(ip, 0) % SLOTS];
  if (spoke) *count = 0;
  else if (*count < HOPELESS) ++*count;
}
