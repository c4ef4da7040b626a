/* In place of ../later.c: calls when the harness says so, in its only thread. */

#include "../later.h"

#include <stddef.h>

#include "tests.h"

static struct later *first;
static uint64_t now;

uint64_t later_now(void) { return now; }

bool later_make(struct later *later, struct later_call call, uint64_t ms) {
  if (later->waits) return true;
  *later = (struct later){.next = first, .call = call, .due = now + ms, .waits = true};
  first = later;
  return true;
}

void later_forget(struct later *later) {
  struct later **slot = &first;
  while (*slot != NULL && *slot != later) slot = &(*slot)->next;
  if (*slot == later) *slot = later->next;
  later->waits = false;
}

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
    later->call.commit(later->call.scheduler, later->call.event);
  }
}
