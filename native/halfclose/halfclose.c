/*
 * A client that has sent its last request may end its side of the connection (FIN) and read on. Envoy's connection manager
 * takes that for the end of the connection, and has no option; as it ignores a FIN where half-close is enabled, nothing would end a
 * connection then but its idle time-out.
 *
 * So a network filter enables half-close, and an HTTP filter on the same connection says which requests are whole and which are
 * answered. After the FIN the connection ends when no whole request waits for its answer, and with it all that is cut short: at once
 * where nothing waits. What came behind such a request in one go is read on from here, since Envoy reads no more after a FIN.
 *
 * A client that gives up sends the same FIN, and Envoy notices nothing of it then, not even a reset, until it writes an answer. Servers
 * that watch for it would never know. So a connection waits for some seconds since the FIN or since something was written last, unless
 * its configuration is empty (it is their number), and a worker keeps so many such connections and no more: those beyond end at the FIN.
 * An upgraded connection is a request that is never whole: it ends at the FIN.
 */

#include <stdlib.h>

#include "../later.h"
#include "../module.h"
#include "../network.h"
#include "../number.h"

#ifndef MOST_WAITING
#define MOST_WAITING 1000
#endif

enum { BUCKETS = 4096 };

/**
 * Events of a connection's filter: look whether it is to end; read on soon, and now; it has waited long. A worker that was kept from
 * running finds what is written and what is scheduled at once, and may take the latter first: the next that is scheduled comes
 * behind both.
 */
enum { LOOK = 0, READ_ON_SOON = 1, READ_ON = 2, TIRED = 3 };

struct configuration {
  const struct network_filter *kind;
  /** How long a connection waits without a byte written; 0 for ever. */
  uint64_t patience_ms;
};

struct connection {
  const struct network_filter *kind;
  void *filter;
  /** Undefined until the FIN. */
  void *scheduler;
  struct connection *next;
  uint64_t id;
  /** Requests that are whole and not answered. */
  uint32_t unanswered;
  /** Its filter, and requests. */
  uint32_t references;
  /** For READ_ON and for TIRED. */
  struct later later, patience;
  uint64_t patience_ms;
  /** When something was last written, or the FIN came. */
  uint64_t last_write;
  bool ended;
  bool closed;
  bool waiting;
  bool scheduled;
};

struct request {
  struct connection *connection;
  bool whole;
};

/** Of this worker. Envoy numbers connections in turn, so buckets fill evenly. */
static _Thread_local struct connection *connections[BUCKETS];
static _Thread_local uint32_t waiting;

static struct connection **slot_of(uint64_t id) {
  struct connection **slot = &connections[id % BUCKETS];
  while (*slot != NULL && (*slot)->id != id) slot = &(*slot)->next;
  return slot;
}

static void release(struct connection *connection) {
  if (--connection->references == 0) free(connection);
}

/** Not now: Envoy is in the midst of a request, and has not yet given what is read to its filters. */
static void look_later(struct connection *connection) {
  if (!connection->ended || connection->closed || connection->scheduled || connection->filter == NULL) return;
  if (connection->scheduler == NULL)
    connection->scheduler = envoy_dynamic_module_callback_network_filter_scheduler_new(connection->filter);
  connection->scheduled = true;
  envoy_dynamic_module_callback_network_filter_scheduler_commit(connection->scheduler, LOOK);
}

static bool call_later(struct connection *connection, struct later *it, uint64_t event, uint64_t ms) {
  return later_make(it, (struct later_call){envoy_dynamic_module_callback_network_filter_scheduler_commit, connection->scheduler, event}, ms);
}

/**
 * Behind the last answer there may be more that the client had sent: the next request is read on from there, in a moment, since
 * Envoy refuses one while two answers before it are not written to the socket (against floods).
 * @return false where nothing is left that could be read on
 */
static bool read_on(struct connection *connection, uint64_t event) {
  size_t left = envoy_dynamic_module_callback_network_filter_get_read_buffer_size(connection->filter);
  if (left == 0) return false;
  if (event != READ_ON) {
    uint64_t next = event == READ_ON_SOON ? READ_ON : READ_ON_SOON;
    return call_later(connection, &connection->later, next, 0);
  }
  envoy_dynamic_module_callback_network_filter_continue_reading(connection->filter);
  if (connection->unanswered > 0) return false;
  if (envoy_dynamic_module_callback_network_filter_get_read_buffer_size(connection->filter) >= left) return false;
  envoy_dynamic_module_callback_network_filter_scheduler_commit(connection->scheduler, LOOK);
  return true;
}

static bool may_wait(struct connection *connection) {
  if (connection->waiting) return true;
  if (waiting >= MOST_WAITING) return false;
  connection->waiting = true;
  waiting++;
  return true;
}

/** @return false where it has waited long enough */
static bool may_wait_longer(struct connection *connection) {
  if (connection->patience_ms == 0) return true;
  uint64_t waited = later_now() - connection->last_write;
  if (waited >= connection->patience_ms) return false;
  return call_later(connection, &connection->patience, TIRED, connection->patience_ms - waited);
}

/** @param config seconds in decimal digits; empty: for ever. @return NULL for anything else */
static void *configure(struct envoy_text config) {
  uint64_t seconds;
  if (!number_of(config, &seconds)) return NULL;
  struct configuration *configuration = malloc(sizeof *configuration);
  if (configuration != NULL) *configuration = (struct configuration){&half_close, seconds * 1000};
  return configuration;
}

static void *create(void *config, void *filter) {
  struct connection *connection = calloc(1, sizeof *connection);
  if (connection == NULL) return NULL;
  connection->kind = &half_close;
  connection->filter = filter;
  connection->patience_ms = ((struct configuration *)config)->patience_ms;
  connection->references = 1;
  connection->id = envoy_dynamic_module_callback_network_filter_get_connection_id(filter);
  struct connection **bucket = &connections[connection->id % BUCKETS];
  connection->next = *bucket;
  *bucket = connection;
  return connection;
}

static void on_new_connection(void *filter) { envoy_dynamic_module_callback_network_filter_enable_half_close(filter, true); }

static int on_read(void *filter, void *in_module, size_t length, bool end) {
  (void)filter;
  struct connection *connection = in_module;
  if (!end) return ENVOY_CONTINUE;
  connection->ended = true;
  connection->last_write = later_now();
  look_later(connection);
  // Envoy's parser takes no bytes for the end in the midst of a request, and writes 400.
  return length == 0 ? ENVOY_STOP : ENVOY_CONTINUE;
}

static void on_write(void *filter, void *in_module, size_t length) {
  (void)filter, (void)length;
  struct connection *connection = in_module;
  if (connection->ended) connection->last_write = later_now();
}

/**
 * What was read is gone with the connection, some time before its filters are: Envoy 1.40 dies of a question about it then. And a
 * commit from another thread holds the filter meanwhile: were it the last to do so, the filter would end there, where its worker's
 * connections are not. So none is made from here on.
 */
static void on_event(void *in_module, int event) {
  struct connection *connection = in_module;
  if (event != ENVOY_REMOTE_CLOSE && event != ENVOY_LOCAL_CLOSE) return;
  connection->closed = true;
  later_forget(&connection->later);
  later_forget(&connection->patience);
}

static void on_scheduled(void *filter, void *in_module, uint64_t event) {
  struct connection *connection = in_module;
  if (connection->closed || (event == TIRED && connection->unanswered == 0)) return;
  if (connection->unanswered == 0 && read_on(connection, event)) return;
  if (event != TIRED) connection->scheduled = false;
  if (connection->unanswered == 0 || !may_wait(connection) || !may_wait_longer(connection))
    envoy_dynamic_module_callback_network_filter_close(filter, ENVOY_FLUSH_WRITE);
}

static void destroy(void *in_module) {
  struct connection *connection = in_module;
  struct connection **slot = slot_of(connection->id);
  if (*slot != NULL) *slot = connection->next;
  if (connection->waiting) waiting--;
  if (connection->scheduler != NULL) envoy_dynamic_module_callback_network_filter_scheduler_delete(connection->scheduler);
  connection->scheduler = NULL;
  connection->filter = NULL;
  release(connection);
}

const struct network_filter half_close = {
    .configure = configure,
    .create = create,
    .on_new_connection = on_new_connection,
    .on_read = on_read,
    .on_write = on_write,
    .on_event = on_event,
    .on_scheduled = on_scheduled,
    .destroy = destroy,
};

static char http_configuration;

void *envoy_dynamic_module_on_http_filter_config_new(void *envoy, struct envoy_text name, struct envoy_text config) {
  (void)envoy, (void)name, (void)config;
  return &http_configuration;
}

void envoy_dynamic_module_on_http_filter_config_destroy(void *config) { (void)config; }

void *envoy_dynamic_module_on_http_filter_new(void *config, void *filter) {
  (void)config, (void)filter;
  return calloc(1, sizeof(struct request));
}

static void is_whole(struct request *request) {
  if (request->whole || request->connection == NULL) return;
  request->whole = true;
  request->connection->unanswered++;
}

int envoy_dynamic_module_on_http_filter_request_headers(void *filter, void *in_module, bool end) {
  struct request *request = in_module;
  uint64_t id;
  if (request->connection == NULL && envoy_dynamic_module_callback_http_filter_get_attribute_int(filter, ENVOY_CONNECTION_ID, &id)) {
    request->connection = *slot_of(id);
    if (request->connection != NULL) request->connection->references++;
  }
  if (end) is_whole(request);
  return ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_http_filter_request_body(void *filter, void *request, bool end) {
  (void)filter;
  if (end) is_whole(request);
  return ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_http_filter_request_trailers(void *filter, void *request) {
  (void)filter;
  is_whole(request);
  return ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_http_filter_response_headers(void *filter, void *request, bool end) {
  (void)filter, (void)request, (void)end;
  return ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_http_filter_response_body(void *filter, void *request, bool end) {
  (void)filter, (void)request, (void)end;
  return ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_http_filter_response_trailers(void *filter, void *request) {
  (void)filter, (void)request;
  return ENVOY_CONTINUE;
}

void envoy_dynamic_module_on_http_filter_stream_complete(void *filter, void *request) { (void)filter, (void)request; }

/** The last of a request, however it ended. */
void envoy_dynamic_module_on_http_filter_destroy(void *in_module) {
  struct request *request = in_module;
  struct connection *connection = request->connection;
  if (connection != NULL) {
    if (request->whole) connection->unanswered--;
    look_later(connection);
    release(connection);
  }
  free(request);
}

/* Envoy wants each of these to be there, and calls none of them: the module makes no calls and schedules nothing for requests. */
#define NEVER_CALLED(event) \
  void envoy_dynamic_module_on_http_filter_##event(void) {}
NEVER_CALLED(http_callout_done)
NEVER_CALLED(http_stream_headers)
NEVER_CALLED(http_stream_data)
NEVER_CALLED(http_stream_trailers)
NEVER_CALLED(http_stream_complete)
NEVER_CALLED(http_stream_reset)
NEVER_CALLED(scheduled)
NEVER_CALLED(downstream_above_write_buffer_high_watermark)
NEVER_CALLED(downstream_below_write_buffer_low_watermark)
