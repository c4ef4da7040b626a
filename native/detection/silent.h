/*
 * The clients of a worker that are silent. When the time of one is over Envoy goes on with it, with a connection to an endpoint, in
 * a turn of its loop for each. With Envoy's own timers all that are due, be it thousands, go on in one turn, for which all other connections
 * of the worker wait.
 */
#ifndef LIGHTPATH_SILENT_H
#define LIGHTPATH_SILENT_H

#include <stdbool.h>
#include <stdint.h>

/** One of them, when `waits`; all zero but for the filter at first. */
struct silent {
  struct silent *before, *after;
  /** Of Envoy. */
  void *filter, *scheduler;
  /** Milliseconds of `later_now`. */
  uint64_t due;
  bool waits;
};

/** Its filter is scheduled when so many milliseconds have passed. @return false where that cannot be */
bool silent_wait(struct silent *one, uint64_t ms);

/** When its filter is scheduled. @return whether its time is over, which is said once */
bool silent_too_long(struct silent *one);

/** Before its filter is gone; nothing for one that does not wait. */
void silent_no_more(struct silent *one);

#endif
