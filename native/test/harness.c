/*
 * Plays Envoy to the module, as its connections and connection manager behave, with random clients: what this checks is that each
 * connection ends, when and not before, and by the sanitizers that nothing is used after it is gone. `harness SEED ROUNDS`.
 */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "../envoy.h"
#include "../later.h"
#include "../module.h"
#include "tests.h"

enum { MOST_CONNECTIONS = 64, MOST_REQUESTS = 8, MOST_POSTED = 65536 };

struct stream {
  void *in_module;
  struct wire *wire;
  bool whole;
  bool known;
};

/** A connection as Envoy has it. What it sends is so many whole requests, and perhaps a part of one. */
struct wire {
  void *in_module;
  uint64_t id;
  size_t buffered;
  bool half_close;
  bool ended;
  bool closed;
  bool multiplexed;
  uint64_t patience_ms, last_write;
  struct stream *streams[MOST_REQUESTS];
};

struct scheduler {
  struct wire *wire;
  int references;
};

static struct wire *wires[MOST_CONNECTIONS];
static struct {
  struct scheduler *scheduler;
  uint64_t event;
} posted[MOST_POSTED];
static size_t posted_first, posted_count;
static uint64_t next_id;
static unsigned long closed, beyond, tired, answered;

static uint64_t state;
static unsigned draw(unsigned below) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (unsigned)(state % below);
}

static unsigned open_whole(const struct wire *wire) {
  unsigned count = 0;
  for (int i = 0; i < MOST_REQUESTS; i++) count += wire->streams[i] != NULL && wire->streams[i]->whole && wire->streams[i]->known;
  return count;
}

static bool waits(const struct wire *wire) {
  return wire != NULL && wire->ended && !wire->closed && open_whole(wire) > 0;
}

/** How many wait, or all that have waited or do and are not gone. */
static unsigned count(bool are_open) {
  unsigned found = 0;
  for (int i = 0; i < MOST_CONNECTIONS; i++) found += are_open ? waits(wires[i]) : wires[i] != NULL && wires[i]->ended;
  return found;
}

static bool has_stream(const struct wire *wire) {
  for (int i = 0; i < MOST_REQUESTS; i++)
    if (wire->streams[i] != NULL) return true;
  return false;
}

static void destroy_stream(struct stream **stream) {
  struct stream *gone = *stream;
  *stream = NULL;
  envoy_dynamic_module_on_http_filter_stream_complete(gone, gone->in_module);
  envoy_dynamic_module_on_http_filter_destroy(gone->in_module);
  free(gone);
}

static void new_stream(struct wire *wire, bool whole) {
  for (int i = 0; i < MOST_REQUESTS; i++) {
    if (wire->streams[i] != NULL) continue;
    struct stream *stream = calloc(1, sizeof *stream);
    stream->wire = wire;
    stream->in_module = envoy_dynamic_module_on_http_filter_new(NULL, stream);
    stream->whole = whole;
    wire->streams[i] = stream;
    unsigned how = draw(3);
    assert(envoy_dynamic_module_on_http_filter_request_headers(stream, stream->in_module, whole && how == 0) == 0);
    if (whole && how == 1) envoy_dynamic_module_on_http_filter_request_body(stream, stream->in_module, true);
    if (whole && how == 2) envoy_dynamic_module_on_http_filter_request_trailers(stream, stream->in_module);
    return;
  }
}

/** As the connection manager: one request at a time unless multiplexed. A byte is a request; every eleventh is cut short. */
static void parse(struct wire *wire) {
  while (wire->buffered > 0 && !wire->closed && (wire->multiplexed || !has_stream(wire))) {
    wire->buffered--;
    unsigned kind = draw(11);
    if (kind == 0) wire->buffered = 0;
    if (kind == 1) continue; // answered at once, before any filter
    new_stream(wire, kind != 0);
    if (kind == 0) return;
  }
}

uint64_t envoy_dynamic_module_callback_network_filter_get_connection_id(void *filter) {
  return ((struct wire *)filter)->id;
}

size_t envoy_dynamic_module_callback_network_filter_get_read_buffer_size(void *filter) {
  assert(!((struct wire *)filter)->closed);
  return ((struct wire *)filter)->buffered;
}

void envoy_dynamic_module_callback_network_filter_enable_half_close(void *filter, bool enabled) {
  ((struct wire *)filter)->half_close = enabled;
}

void envoy_dynamic_module_callback_network_filter_continue_reading(void *filter) { parse(filter); }

void envoy_dynamic_module_callback_network_filter_close(void *filter, int how) {
  struct wire *wire = filter;
  assert(how == ENVOY_FLUSH_WRITE && wire->ended);
  if (wire->closed) return;
  // No answer is lost but where too many wait, or one for long.
  bool is_tired = wire->patience_ms > 0 && later_now() - wire->last_write >= wire->patience_ms;
  assert(open_whole(wire) == 0 || is_tired || count(false) > MOST_WAITING);
  if (is_tired) tired++;
  if (open_whole(wire) > 0) beyond++;
  else closed++;
  wire->closed = true;
  envoy_dynamic_module_on_network_filter_event(wire, wire->in_module, ENVOY_LOCAL_CLOSE);
}

void *envoy_dynamic_module_callback_network_filter_scheduler_new(void *filter) {
  struct scheduler *scheduler = calloc(1, sizeof *scheduler);
  scheduler->wire = filter;
  scheduler->references = 1;
  return scheduler;
}

static void let_go(struct scheduler *scheduler) {
  if (--scheduler->references == 0) free(scheduler);
}

void envoy_dynamic_module_callback_network_filter_scheduler_delete(void *in_envoy) {
  struct scheduler *scheduler = in_envoy;
  scheduler->wire = NULL;
  let_go(scheduler);
}

/**
 * The harness is single-threaded: later.c beside it commits in its turn. In Envoy another thread does, and where the connection is closed
 * already, it may be the last that holds the filter.
 */
void envoy_dynamic_module_callback_network_filter_scheduler_commit(void *in_envoy, uint64_t event) {
  struct scheduler *scheduler = in_envoy;
  assert(scheduler->wire != NULL && !scheduler->wire->closed);
  assert(posted_count < MOST_POSTED);
  scheduler->references++;
  size_t at = (posted_first + posted_count++) % MOST_POSTED;
  posted[at].scheduler = scheduler;
  posted[at].event = event;
}

bool envoy_dynamic_module_callback_http_filter_get_attribute_int(void *filter, int attribute, uint64_t *value) {
  assert(attribute == ENVOY_CONNECTION_ID);
  struct stream *stream = filter;
  *value = stream->wire->id;
  // Without it the module knows of no request.
  stream->known = draw(50) != 0;
  return stream->known;
}

static void run_posted(void) {
  run_later(1);
  while (posted_count > 0) {
    struct scheduler *scheduler = posted[posted_first].scheduler;
    uint64_t event = posted[posted_first].event;
    posted_first = (posted_first + 1) % MOST_POSTED;
    posted_count--;
    if (scheduler->wire != NULL)
      envoy_dynamic_module_on_network_filter_scheduled(scheduler->wire, scheduler->wire->in_module, event);
    let_go(scheduler);
  }
}

static void *configurations[2];

static struct wire *accept_one(void) {
  struct wire *wire = calloc(1, sizeof *wire);
  // Some fall into one bucket.
  wire->id = next_id++ * (draw(4) == 0 ? 4096 : 1);
  for (int i = 0; i < MOST_CONNECTIONS; i++)
    if (wires[i] != NULL && wires[i]->id == wire->id) wire->id = 1000000 + next_id++;
  wire->multiplexed = draw(4) == 0;
  void *patient = configurations[draw(2)];
  wire->patience_ms = patient == configurations[0] ? 0 : 5000;
  wire->in_module = envoy_dynamic_module_on_network_filter_new(patient, wire);
  assert(envoy_dynamic_module_on_network_filter_new_connection(wire, wire->in_module) == ENVOY_CONTINUE);
  assert(wire->half_close);
  return wire;
}

static void destroy(struct wire **slot) {
  struct wire *wire = *slot;
  *slot = NULL;
  // Envoy says of each connection that it is closed, before its filters end.
  if (!wire->closed) envoy_dynamic_module_on_network_filter_event(wire, wire->in_module, ENVOY_LOCAL_CLOSE);
  wire->closed = true;
  // Envoy has streams outlive the connection's filters now and then, and ends them before as a rule.
  bool before = draw(2) == 0;
  if (!before) envoy_dynamic_module_on_network_filter_destroy(wire->in_module);
  for (int i = 0; i < MOST_REQUESTS; i++)
    if (wire->streams[i] != NULL) destroy_stream(&wire->streams[i]);
  if (before) envoy_dynamic_module_on_network_filter_destroy(wire->in_module);
  // What it had scheduled finds the scheduler, and no filter.
  free(wire);
}

static void read_some(struct wire *wire, size_t length, bool end) {
  wire->buffered += length;
  wire->ended = end;
  if (end) wire->last_write = later_now();
  if (envoy_dynamic_module_on_network_filter_read(wire, wire->in_module, wire->buffered, end) == ENVOY_CONTINUE) parse(wire);
}

static void step(struct wire **slot) {
  struct wire *wire = *slot;
  if (wire == NULL) {
    *slot = accept_one();
    return;
  }
  unsigned what = draw(16);
  if (what == 1 && !wire->closed) {
    wire->closed = true;
    envoy_dynamic_module_on_network_filter_event(wire, wire->in_module, ENVOY_REMOTE_CLOSE);
  } else if (wire->closed || what == 0) destroy(slot);
  else if (what < 5 && !wire->ended) read_some(wire, 1 + draw(5), draw(4) == 0);
  else if (what == 5 && !wire->ended) read_some(wire, 0, true);
  else if (what == 6) {
    envoy_dynamic_module_on_network_filter_write(wire, wire->in_module, 1, false);
    wire->last_write = later_now();
  } else if (what < 14) {
    struct stream **stream = &wire->streams[draw(MOST_REQUESTS)];
    if (*stream != NULL && ((*stream)->whole || draw(8) == 0)) {
      destroy_stream(stream);
      answered++;
      if (!wire->ended) parse(wire);
    }
  }
}

int main(int words, char **arguments) {
  if (words != 3) return 2;
  state = strtoull(arguments[1], NULL, 10) * 2654435761u + 88172645463325252u;
  unsigned long rounds = strtoul(arguments[2], NULL, 10);
  test_detection(draw);
  test_server_first();
  test_patience();
  test_silent(draw);
  configurations[0] = envoy_dynamic_module_on_network_filter_config_new(NULL, (struct envoy_text){"", 0}, (struct envoy_text){"", 0});
  configurations[1] = envoy_dynamic_module_on_network_filter_config_new(NULL, (struct envoy_text){"", 0}, (struct envoy_text){"5", 1});
  assert(envoy_dynamic_module_on_network_filter_config_new(NULL, (struct envoy_text){"", 0}, (struct envoy_text){"5s", 2}) == NULL);
  for (unsigned long round = 0; round < rounds; round++) {
    step(&wires[draw(MOST_CONNECTIONS)]);
    // Much may come before Envoy gets to what is scheduled, and before a moment is over, also the connection's end.
    if (draw(3) == 0) run_posted();
    if (draw(3) > 0) continue;
    if (draw(100) == 0) run_later(draw(6000));
    while (run_later(1), posted_count > 0) run_posted();
    // After a FIN nothing is left open for nothing.
    for (int i = 0; i < MOST_CONNECTIONS; i++) assert(wires[i] == NULL || !wires[i]->ended || wires[i]->closed || waits(wires[i]));
    assert(count(true) <= MOST_WAITING);
  }
  for (int i = 0; i < MOST_CONNECTIONS; i++)
    if (wires[i] != NULL) destroy(&wires[i]);
  while (run_later(1), posted_count > 0) run_posted();
  for (int i = 0; i < 2; i++) envoy_dynamic_module_on_network_filter_config_destroy(configurations[i]);
  printf("%lu rounds: %lu answered, %lu connections ended, %lu beyond those that may wait, %lu that had waited long\n", rounds,
         answered, closed, beyond, tired);
  return 0;
}
