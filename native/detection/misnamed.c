/* Bounds how many connections of misnamed ports a worker reports: some show what a port speaks, and each costs the agent a record. */

#include "misnamed.h"

#include "../clock.h"

enum { MOST_A_SECOND = 20 };

bool misnamed_may_report(enum misnamed_by kind) {
  static _Thread_local struct {
    uint64_t second;
    unsigned reported;
  } kinds[MISNAMED_KINDS];
  uint64_t now = clock_now() / 1000000000;
  if (now != kinds[kind].second) kinds[kind].second = now, kinds[kind].reported = 0;
  return kinds[kind].reported++ < MOST_A_SECOND;
}
