/* Calls of filters after a while. Envoy gives a module no timers, and runs what it schedules before it writes to sockets. */
#ifndef LIGHTPATH_LATER_H
#define LIGHTPATH_LATER_H

#include <stdbool.h>
#include <stdint.h>

/** An event for a filter, by Envoy's `scheduler_commit` for filters of its kind. */
struct later_call {
  void (*commit)(void *scheduler, uint64_t event);
  void *scheduler;
  uint64_t event;
};

/** Belongs to one filter, or one worker; all zero at first. */
struct later {
  struct later *next;
  struct later_call call;
  /** Milliseconds of `later_now`. */
  uint64_t due;
  bool waits;
};

/** Milliseconds since some moment. */
uint64_t later_now(void);
/** Makes the call in so many milliseconds or one more, once; one that waits already stays as it is. @return false where that cannot be */
bool later_make(struct later *later, struct later_call call, uint64_t ms);
/** From its return on the scheduler is not used, nor what it belongs to. Call it while Envoy still holds the filter. */
void later_forget(struct later *later);

#endif
