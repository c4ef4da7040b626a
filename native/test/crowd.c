/* How many silent clients of an address wait at once. */

#include "../detection/crowd.h"
#include "tests.h"

#include <assert.h>

static const struct envoy_text idle = {"10.244.1.7", 10}, other = {"10.244.1.8", 10};

void test_crowd(void) {
  struct crowd_place places[MOST_IN_CROWD];
  for (int i = 0; i < MOST_IN_CROWD; i++) assert((places[i] = crowd_join(idle)).is_taken);
  struct crowd_place beyond = crowd_join(idle);
  assert(!beyond.is_taken);
  crowd_leave(beyond);
  assert(!crowd_join(idle).is_taken);
  // Others are no part of it, and a place that is given back is another's.
  assert(crowd_join(other).is_taken);
  crowd_leave(places[0]);
  assert((places[0] = crowd_join(idle)).is_taken);
  assert(!crowd_join(idle).is_taken);
  for (int i = 0; i < MOST_IN_CROWD; i++) crowd_leave(places[i]);
  assert(crowd_join(idle).is_taken);
}
