#include "later.h"

#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include "clock.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_sooner;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool runs;
static struct later *first;

uint64_t later_now(void) { return clock_now() / 1000000; }

/** Under the lock, so that none is forgotten meanwhile. @return when the next is due, UINT64_MAX for none */
static uint64_t call_due(uint64_t now) {
  uint64_t next = UINT64_MAX;
  for (struct later **slot = &first; *slot != NULL;) {
    struct later *later = *slot;
    if (later->due > now) {
      if (later->due < next) next = later->due;
      slot = &later->next;
      continue;
    }
    *slot = later->next;
    later->waits = false;
    later->call.commit(later->call.scheduler, later->call.event);
  }
  return next;
}

static void *call_all_for_ever(void *nothing) {
  pthread_mutex_lock(&lock);
  for (;;) {
    uint64_t next = call_due(later_now());
    struct timespec until = {.tv_sec = (time_t)(next / 1000), .tv_nsec = (long)(next % 1000) * 1000000};
    if (next == UINT64_MAX) pthread_cond_wait(&has_sooner, &lock);
    else pthread_cond_timedwait(&has_sooner, &lock, &until);
  }
  return nothing;
}

static void start(void) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&has_sooner, &attributes);
  pthread_t thread;
  runs = pthread_create(&thread, NULL, call_all_for_ever, NULL) == 0;
  if (runs) pthread_detach(thread);
}

bool later_make(struct later *later, struct later_call call, uint64_t ms) {
  pthread_once(&once, start);
  if (!runs) return false;
  pthread_mutex_lock(&lock);
  if (!later->waits) {
    *later = (struct later){.next = first, .call = call, .due = later_now() + ms + 1, .waits = true};
    first = later;
    pthread_cond_signal(&has_sooner);
  }
  pthread_mutex_unlock(&lock);
  return true;
}

void later_forget(struct later *later) {
  pthread_mutex_lock(&lock);
  struct later **slot = &first;
  while (*slot != NULL && *slot != later) slot = &(*slot)->next;
  if (*slot == later) *slot = later->next;
  later->waits = false;
  pthread_mutex_unlock(&lock);
}
