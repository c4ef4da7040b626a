#include "silent.h"

#include <stddef.h>

#include "../envoy.h"
#include "../later.h"

/** Of this worker, in the order in which they are due; the first one's filter is scheduled. */
static _Thread_local struct silent *first, *last;
static _Thread_local struct later alarm;

static bool schedule_first(void) {
  later_forget(&alarm);
  if (first == NULL) return true;
  if (first->scheduler == NULL) first->scheduler = envoy_dynamic_module_callback_listener_filter_scheduler_new(first->filter);
  uint64_t now = later_now();
  struct later_call call = {envoy_dynamic_module_callback_listener_filter_scheduler_commit, first->scheduler, 0};
  return later_make(&alarm, call, first->due > now ? first->due - now : 0);
}

static void insert(struct silent *one) {
  // All but a few ports wait for the same time, so that its place is at the end as a rule.
  while (one->before != NULL && one->before->due > one->due) {
    one->after = one->before;
    one->before = one->before->before;
  }
  *(one->before == NULL ? &first : &one->before->after) = one;
  *(one->after == NULL ? &last : &one->after->before) = one;
}

bool silent_wait(struct silent *one, uint64_t ms) {
  *one = (struct silent){.before = last, .filter = one->filter, .due = later_now() + ms, .waits = true};
  insert(one);
  if (one != first || schedule_first()) return true;
  silent_no_more(one);
  return false;
}

bool silent_too_long(struct silent *one) {
  if (!one->waits || one->due > later_now()) return false;
  silent_no_more(one);
  return true;
}

void silent_no_more(struct silent *one) {
  if (!one->waits) return;
  one->waits = false;
  bool was_first = one == first;
  *(one->before == NULL ? &first : &one->before->after) = one->after;
  *(one->after == NULL ? &last : &one->after->before) = one->before;
  if (was_first) schedule_first();
  if (one->scheduler != NULL) envoy_dynamic_module_callback_listener_filter_scheduler_delete(one->scheduler);
}
