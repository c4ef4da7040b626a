#include "latency.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../slot.h"

enum { BUCKETS = 65536, ROWS_AT_ONCE = 4096, LOOKED_AT = 8, LONGEST_NAME = 200, OWNERS = 1024 };

/** An endpoint that nobody refers to is forgotten when it was not seen for so long, nanoseconds. */
static const uint64_t kept = 60000000000u;

/** The file's first row. */
struct header {
  char magic[8];
  /** Rows behind this one that have been an endpoint's. */
  _Atomic uint64_t used;
  uint64_t unused[6];
};

_Static_assert(sizeof(struct endpoint) == 64 && sizeof(struct header) == 64, "src/envoy/program/latencies.ts reads these");

/** Of all that is not atomic. It is held for some 100 ns a request, and 0.6 µs where all rows are taken. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[LONGEST_NAME];
/** Row 0 is the header: so 0 is no endpoint. */
static struct endpoint *rows;
/** -1: in memory alone. */
static int file = -1;
/** Rows that there is memory for, the first one not among them. */
static uint32_t room;
static uint32_t free_rows;
static uint32_t looked_at;
static uint32_t buckets[BUCKETS];
/** The next row of a bucket, or of the free rows. */
static uint32_t next_of[MOST_ENDPOINTS + 1];
static uint32_t references[MOST_ENDPOINTS + 1];
/** The namespace of each row, as a slot, and how many rows it has. Namespaces that meet in a slot share its part. */
static uint16_t owner_of[MOST_ENDPOINTS + 1];
static uint32_t rows_of[OWNERS];
static uint32_t last_given_up;

static struct header *header(void) { return (struct header *)rows; }

void latency_keep_in(struct envoy_text given) {
  pthread_mutex_lock(&lock);
  if (rows == NULL && given.length > 0 && given.length < LONGEST_NAME) {
    memcpy(directory, given.start, given.length);
    directory[given.length] = 0;
  }
  pthread_mutex_unlock(&lock);
}

static const size_t size = (size_t)(MOST_ENDPOINTS + 1) * sizeof(struct endpoint);

static void map_file(int instance) {
  char name[LONGEST_NAME + 24];
  snprintf(name, sizeof name, "%s/endpoints-%d", directory, instance);
  int opened = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
  if (opened < 0) return;
  // The lock lasts as long as the process.
  if (flock(opened, LOCK_EX | LOCK_NB) == 0 && ftruncate(opened, 0) == 0 && ftruncate(opened, (off_t)size) == 0) {
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    if (mapped != MAP_FAILED) {
      rows = mapped;
      file = opened;
      return;
    }
  }
  close(opened);
}

/** What is written to a hole of a file on a full disk is SIGBUS. So nothing is before there is a block for it. */
static bool make_room(void) {
  uint32_t wanted = room + ROWS_AT_ONCE;
  if (room == MOST_ENDPOINTS) return false;
  if (wanted > MOST_ENDPOINTS) wanted = MOST_ENDPOINTS;
  if (file >= 0 && posix_fallocate(file, 0, (off_t)(wanted + 1) * (off_t)sizeof(struct endpoint)) != 0) return false;
  room = wanted;
  return true;
}

static bool is_there(void) {
  if (rows != NULL) return true;
  if (directory[0] != 0)
    for (int instance = 1; rows == NULL && instance <= 2; instance++) map_file(instance);
  if (rows != NULL && !make_room()) {
    munmap(rows, size);
    rows = NULL;
    close(file);
    file = -1;
  }
  if (rows == NULL) {
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return false;
    rows = mapped;
  }
  memcpy(header()->magic, "LPLAT 1", 8);
  return true;
}

bool latency_parse(struct envoy_text ip, uint32_t port, struct address *address) {
  char text[INET6_ADDRSTRLEN];
  if (ip.length >= sizeof text || port == 0 || port > UINT16_MAX) return false;
  memcpy(text, ip.start, ip.length);
  text[ip.length] = 0;
  *address = (struct address){.ip = {[10] = 0xff, [11] = 0xff}, .port = (uint16_t)port};
  return inet_pton(AF_INET, text, address->ip + 12) == 1 || inet_pton(AF_INET6, text, address->ip) == 1;
}

static bool is_same(const struct address *a, const struct address *b) {
  return a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static uint32_t bucket_of(const struct address *address) {
  uint64_t hash = address->port;
  for (int at = 0; at < 16; at += 8) {
    uint64_t part;
    memcpy(&part, address->ip + at, sizeof part);
    hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  return (uint32_t)(hash % BUCKETS);
}

static uint32_t find(const struct address *address) {
  uint32_t row = buckets[bucket_of(address)];
  while (row != 0 && !is_same(&rows[row].address, address)) row = next_of[row];
  return row;
}

static void forget(uint32_t row) {
  uint32_t *link = &buckets[bucket_of(&rows[row].address)];
  while (*link != row) link = &next_of[*link];
  *link = next_of[row];
  rows[row].address.port = 0;
  rows_of[owner_of[row]]--;
  references[row] = 0;
  next_of[row] = free_rows;
  free_rows = row;
}

/** Of the endpoints that nobody refers to some that were not seen for long, a few at a time: all in turn. */
static void forget_some(uint64_t now) {
  uint32_t used = (uint32_t)atomic_load_explicit(&header()->used, memory_order_relaxed);
  for (uint32_t count = 0; count < LOOKED_AT && count < used; count++) {
    looked_at = looked_at % used + 1;
    struct endpoint *endpoint = &rows[looked_at];
    uint64_t seen = atomic_load_explicit(&endpoint->seen, memory_order_relaxed);
    if (endpoint->address.port != 0 && references[looked_at] == 0 && seen + kept < now) forget(looked_at);
  }
}

/**
 * All rows are taken: the owner with most of them gives one up, in turn, if it still has as many as this one then (as in
 * src/observe/rates/fairplaces.ts).
 */
static void give_up_one_for(uint32_t owner, uint32_t used) {
  uint32_t most = owner;
  for (uint32_t other = 0; other < OWNERS; other++)
    if (rows_of[other] > rows_of[most]) most = other;
  if (rows_of[most] <= rows_of[owner] + 1) return;
  do last_given_up = last_given_up % used + 1;
  while (owner_of[last_given_up] != most || rows[last_given_up].address.port == 0);
  forget(last_given_up);
}

static uint32_t add(const struct address *address, struct envoy_text namespace, uint64_t now) {
  forget_some(now);
  uint32_t owner = slot_of(namespace, 0) % OWNERS;
  uint32_t used = (uint32_t)atomic_load_explicit(&header()->used, memory_order_relaxed);
  if (free_rows == 0 && used == room && !make_room()) give_up_one_for(owner, used);
  uint32_t row = free_rows;
  if (row != 0) {
    free_rows = next_of[row];
  } else {
    if (used == room) return 0;
    row = used + 1;
    atomic_store_explicit(&header()->used, row, memory_order_relaxed);
  }
  owner_of[row] = (uint16_t)owner;
  rows_of[owner]++;
  struct endpoint *endpoint = &rows[row];
  // No two that have had this row have the same, however soon.
  uint64_t since = atomic_load_explicit(&endpoint->since, memory_order_relaxed) + 1;
  if (since < now) since = now;
  endpoint->address = *address;
  atomic_store_explicit(&endpoint->failing, 0, memory_order_relaxed);
  atomic_store_explicit(&endpoint->since, since, memory_order_relaxed);
  atomic_store_explicit(&endpoint->seen, now, memory_order_relaxed);
  atomic_store_explicit(&endpoint->latency, 0, memory_order_relaxed);
  atomic_store_explicit(&endpoint->tries, 0, memory_order_relaxed);
  atomic_store_explicit(&endpoint->failures, 0, memory_order_relaxed);
  uint32_t *bucket = &buckets[bucket_of(address)];
  next_of[row] = *bucket;
  *bucket = row;
  return row;
}

struct place latency_acquire(const struct address *address, struct envoy_text namespace, uint64_t now) {
  struct place place = {0};
  pthread_mutex_lock(&lock);
  if (is_there()) {
    uint32_t row = find(address);
    if (row == 0) row = add(address, namespace, now);
    if (row != 0) {
      references[row]++;
      place = (struct place){&rows[row], atomic_load_explicit(&rows[row].since, memory_order_relaxed)};
    }
  }
  pthread_mutex_unlock(&lock);
  return place;
}

static bool is_still_there(struct place place) {
  return place.endpoint != NULL && atomic_load_explicit(&place.endpoint->since, memory_order_relaxed) == place.since;
}

void latency_release(struct place place) {
  pthread_mutex_lock(&lock);
  if (is_still_there(place)) references[place.endpoint - rows]--;
  pthread_mutex_unlock(&lock);
}

/** What is left of an estimate after this time without anything seen. */
static double left_after(uint64_t from, uint64_t now) { return now > from ? exp(-(double)(now - from) / LATENCY_TAU) : 1; }

static void observe(struct endpoint *endpoint, const struct outcome *outcome, uint64_t now) {
  uint64_t seen = atomic_load_explicit(&endpoint->seen, memory_order_relaxed);
  double gain = 1 - left_after(seen, now);
  double latency = (double)atomic_load_explicit(&endpoint->latency, memory_order_relaxed);
  bool is_learning = atomic_load_explicit(&endpoint->tries, memory_order_relaxed) < LATENCY_LEARNT;
  if (latency == 0 || is_learning) {
    // What fails first says nothing of how long an answer takes.
    if (!outcome->failed && (latency == 0 || outcome->latency < latency)) latency = outcome->latency;
  } else if (outcome->answered || outcome->latency > latency) {
    latency += fmax(gain, LATENCY_STEP) * (outcome->latency - latency);
  }
  double failing = (double)atomic_load_explicit(&endpoint->failing, memory_order_relaxed);
  failing += fmax(gain, FAILING_STEP) * ((outcome->failed ? ALWAYS : 0) - failing);
  atomic_store_explicit(&endpoint->latency, (uint64_t)latency, memory_order_relaxed);
  atomic_store_explicit(&endpoint->failing, (uint32_t)failing, memory_order_relaxed);
  if (now > seen) atomic_store_explicit(&endpoint->seen, now, memory_order_relaxed);
  atomic_fetch_add_explicit(&endpoint->tries, 1, memory_order_relaxed);
  if (outcome->failed) atomic_fetch_add_explicit(&endpoint->failures, 1, memory_order_relaxed);
}

void latency_observe(
    const struct address *address, struct envoy_text namespace, const struct outcome *outcome, uint64_t now) {
  pthread_mutex_lock(&lock);
  if (is_there()) {
    uint32_t row = find(address);
    if (row == 0) row = add(address, namespace, now);
    if (row != 0) observe(&rows[row], outcome, now);
  }
  pthread_mutex_unlock(&lock);
}

struct estimate latency_estimate(struct place place, uint64_t now) {
  if (!is_still_there(place)) return (struct estimate){0};
  const struct endpoint *endpoint = place.endpoint;
  // One that nothing was seen of for long is tried again: it counts as ever faster.
  double left = left_after(atomic_load_explicit(&endpoint->seen, memory_order_relaxed), now);
  bool is_learnt = atomic_load_explicit(&endpoint->tries, memory_order_relaxed) >= LATENCY_LEARNT;
  double known = is_learnt * (double)atomic_load_explicit(&endpoint->latency, memory_order_relaxed);
  return (struct estimate){
      .latency = left * known,
      .known = known,
      .failing = left * (double)atomic_load_explicit(&endpoint->failing, memory_order_relaxed) / ALWAYS,
  };
}
