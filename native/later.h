/* Calls of network filters after a moment. Envoy gives those no timers, and runs what they schedule before it writes to sockets. */
#ifndef LIGHTPATH_LATER_H
#define LIGHTPATH_LATER_H

#include <stdbool.h>
#include <stdint.h>

/** Belongs to one filter; all zero at first. */
struct later {
  struct later *next;
  void *scheduler;
  uint64_t event;
  bool waits;
};

/** Commits the event to the scheduler in a millisecond or two, once. @return false where that cannot be */
bool later_call(struct later *later, void *scheduler, uint64_t event);
/** From its return on the scheduler is not used. */
void later_forget(struct later *later);

#endif
