/* Bounds how many connections of misnamed ports a worker reports: some show what a port speaks, and each costs the agent a record. */

#include "misnamed.h"

#include "clock.h"

enum { MOST_A_SECOND = 20 };

bool misnamed_may_report(void) {
  static _Thread_local uint64_t second;
  static _Thread_local unsigned reported;
  uint64_t now = clock_now() / 1000000000;
  if (now != second) second = now, reported = 0;
  return reported++ < MOST_A_SECOND;
}
