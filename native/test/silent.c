/* How long silent clients wait, and that one at a time goes on. */

#include "../detection/silent.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "../envoy.h"
#include "../later.h"
#include "tests.h"

enum { CLIENTS = 400, MOST_MS = 3000 };

static struct silent clients[CLIENTS];
static uint64_t due[CLIENTS];
static int scheduled = -1;
static unsigned schedulers;

/* A filter is its client's number, and so is its scheduler. */
void *envoy_dynamic_module_callback_listener_filter_scheduler_new(void *filter) {
  schedulers++;
  return filter;
}

void envoy_dynamic_module_callback_listener_filter_scheduler_delete(void *scheduler) {
  (void)scheduler;
  schedulers--;
}

void envoy_dynamic_module_callback_listener_filter_scheduler_commit(void *scheduler, uint64_t event) {
  (void)event;
  assert(scheduled == -1);
  scheduled = (int)((uintptr_t)scheduler - 1);
}

static int next_due(void) {
  int next = -1;
  for (int i = 0; i < CLIENTS; i++)
    if (clients[i].waits && (next == -1 || due[i] < due[next])) next = i;
  return next;
}

void test_silent(unsigned (*draw)(unsigned)) {
  for (int i = 0; i < CLIENTS; i++) clients[i].filter = (void *)(uintptr_t)(i + 1);
  unsigned went_on = 0;
  for (int step = 0; step < 100000; step++) {
    int i = (int)draw(CLIENTS);
    if (draw(3) > 0 && !clients[i].waits) {
      uint64_t ms = draw(8) == 0 ? draw(MOST_MS) : 1000;
      due[i] = later_now() + ms;
      assert(silent_wait(&clients[i], ms));
    } else if (draw(4) == 0) silent_no_more(&clients[i]);
    // Envoy may not come to it for long.
    int next = next_due();
    run_later(draw(50) == 0 ? draw(MOST_MS) : draw(3));
    if (scheduled == -1) {
      assert(next == -1 || due[next] > later_now());
      continue;
    }
    assert(due[scheduled] == due[next] && due[next] <= later_now());
    // Its client may speak, or be gone, before Envoy calls its filter.
    bool has_spoken = draw(4) == 0;
    if (has_spoken) silent_no_more(&clients[scheduled]);
    assert(silent_too_long(&clients[scheduled]) == !has_spoken);
    assert(!silent_too_long(&clients[scheduled]));
    went_on += !has_spoken;
    scheduled = -1;
  }
  assert(went_on > CLIENTS);
  for (int i = 0; i < CLIENTS; i++) silent_no_more(&clients[i]);
  assert(schedulers == 0);
  run_later(2 * MOST_MS);
  assert(scheduled == -1);
}
