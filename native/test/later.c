/* In place of ../later.c: calls when the harness says so, in its only thread. */

#include "../later.h"

#include <stddef.h>

#include "../envoy.h"

static struct later *first;

bool later_call(struct later *later, void *scheduler, uint64_t event) {
  if (later->waits) return true;
  *later = (struct later){.next = first, .scheduler = scheduler, .event = event, .waits = true};
  first = later;
  return true;
}

void later_forget(struct later *later) {
  struct later **slot = &first;
  while (*slot != NULL && *slot != later) slot = &(*slot)->next;
  if (*slot == later) *slot = later->next;
  later->waits = false;
}

void run_later(void) {
  while (first != NULL) {
    struct later *later = first;
    first = later->next;
    later->waits = false;
    envoy_dynamic_module_callback_network_filter_scheduler_commit(later->scheduler, later->event);
  }
}
