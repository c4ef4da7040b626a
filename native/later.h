/* Calls of network filters after a while. Envoy gives those no timers, and runs what they schedule before it writes to sockets. */
#ifndef LIGHTPATH_LATER_H
#define LIGHTPATH_LATER_H

#include <stdbool.h>
#include <stdint.h>

/** Belongs to one filter; all zero at first. */
struct later {
  struct later *next;
  void *scheduler;
  uint64_t event;
  /** Milliseconds of `later_now`. */
  uint64_t due;
  bool waits;
};

/** Milliseconds since some moment. */
uint64_t later_now(void);
/** Commits the event to the scheduler in so many milliseconds or one more, once; one that waits already stays as it is. @return false where that cannot be */
bool later_call(struct later *later, void *scheduler, uint64_t event, uint64_t ms);
/** From its return on the scheduler is not used, nor what it belongs to. Call it while Envoy still holds the filter. */
void later_forget(struct later *later);

#endif
