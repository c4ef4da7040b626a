#include "later.h"

#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include "envoy.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_some = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool runs;
static struct later *first;

static void *call_all_for_ever(void *nothing) {
  for (;;) {
    pthread_mutex_lock(&lock);
    while (first == NULL) pthread_cond_wait(&has_some, &lock);
    pthread_mutex_unlock(&lock);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    // Under the lock, so that none is forgotten meanwhile.
    pthread_mutex_lock(&lock);
    for (struct later *later = first; later != NULL; later = later->next) {
      later->waits = false;
      envoy_dynamic_module_callback_network_filter_scheduler_commit(later->scheduler, later->event);
    }
    first = NULL;
    pthread_mutex_unlock(&lock);
  }
  return nothing;
}

static void start(void) {
  pthread_t thread;
  runs = pthread_create(&thread, NULL, call_all_for_ever, NULL) == 0;
  if (runs) pthread_detach(thread);
}

bool later_call(struct later *later, void *scheduler, uint64_t event) {
  pthread_once(&once, start);
  if (!runs) return false;
  pthread_mutex_lock(&lock);
  if (!later->waits) {
    *later = (struct later){.next = first, .scheduler = scheduler, .event = event, .waits = true};
    first = later;
    pthread_cond_signal(&has_some);
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
