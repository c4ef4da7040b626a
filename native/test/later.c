/* In place of ../halfclose/later.c: calls when the harness says so, in its only thread. */

#include "../halfclose/later.h"

#include <stddef.h>

#include "../envoy.h"

static struct later *first;
static uint64_t now;

uint64_t later_now(void) { return now; }

bool later_call(struct later *later, void *scheduler, uint64_t event, uint64_t ms) {
  if (later->waits) return true;
  *later = (struct later){.next = first, .scheduler = scheduler, 
                          .event = event, .due = now + ms, .waits = true};
  first = later;
  return true;
}

void later_forget(struct later *later) {
  struct later **slot = &first;
  while (*slot != NULL && *slot != later) slot = &(*slot)->next;
  if (*slot == later) *slot = later->next;
  later->waits = false;
}

/** What is due after so many more milliseconds. */
void run_later(uint64_t ms) {
  now += ms;
  for (struct later **slot = &first; *slot != NULL;) {
    struct later *later = *slot;
    if (later->due > now) {
      slot = &later->next;
      continue;
    }
    *slot = later->next;
    later->waits = false;
    envoy_dynamic_module_callback_network_filter_scheduler_commit(later->scheduler, later->event);
  }
}
