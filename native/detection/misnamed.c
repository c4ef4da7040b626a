/*
 * Bounds how many connections of misnamed ports a worker reports: some show what a port speaks, and each costs the agent a record. A
 * port whose clients connect all the time leaves the others room, of whosever Service it is. The module does not know Services, so each
 * address and port has its share, and many ports of one tenant have many.
 */

#include "misnamed.h"

#include "../clock.h"
#include "../slot.h"

enum { MOST_A_SECOND = 20, MOST_OF_ADDRESS = 2, SLOTS = 256 };

struct count {
  uint64_t second;
  unsigned reported;
};

static bool take(struct count *count, unsigned most, uint64_t second) {
  if (second != count->second) *count = (struct count){.second = second};
  if (count->reported == most) return false;
  count->reported++;
  return true;
}

bool misnamed_may_report(enum misnamed_by kind, struct envoy_text ip, uint32_t port) {
  static _Thread_local struct {
    struct count all, of_address[SLOTS];
  } kinds[MISNAMED_KINDS];
  uint64_t second = clock_now() / 1000000000;
  if (!take(&kinds[kind].of_address[slot_of(ip, port) % SLOTS], MOST_OF_ADDRESS, second)) return false;
  return take(&kinds[kind].all, MOST_A_SECOND, second);
}
