/* How long clients that keep silent hold up a worker, in virtual time. */

#include "../detection/patience.h"
#include "tests.h"

#include <assert.h>

static const int64_t second = 1000000000;
static const struct envoy_text idle = {"10.244.1.7", 10}, other = {"10.244.1.8", 10};
static int64_t now = 1;

/** A client that says nothing, ever. Returns how long the worker waited for it. */
static int64_t silent(struct envoy_text ip) {
  int64_t waited = patience_with(ip, now);
  if (waited > 0) patience_learn(ip, false, waited);
  now += waited;
  return waited;
}

static int64_t silent_times(int count, struct envoy_text ip, int64_t pause) {
  int64_t waited = 0;
  for (int i = 0; i < count; i++, now += pause) waited += silent(ip);
  return waited;
}

void test_patience(void) {
  assert(patience_with(idle, now) == MOST_PATIENCE);
  // One that is late says nothing about the next one.
  silent(idle);
  assert(patience_with(idle, now) == MOST_PATIENCE);
  // Thousands at once, and any number later.
  assert(silent_times(8000, idle, second / 4000) <= 6 * MOST_PATIENCE);
  assert(silent_times(1000, idle, second) == 0);
  // Others from elsewhere are waited for as before, and from there once one has spoken.
  assert(patience_with(other, now) == MOST_PATIENCE);
  patience_learn(idle, true, 0);
  assert(patience_with(idle, now) == MOST_PATIENCE);
  // From many addresses, or by clients that speak now and then, they get a part of the time.
  now += 10 * second;
  int64_t waited = 0, began = now;
  for (int i = 0; now < began + 10 * second; now += second / 100000, i++) {
    waited += silent(idle);
    patience_learn(idle, true, 0);
  }
  assert(waited > 2 * second && waited < 3 * second);
}
