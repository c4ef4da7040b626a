/*
 * A filter of connections that do not begin as HTTP, on ports that are named so. It finds servers that speak first: their clients waited
 * for that, and so Envoy for the clients. A server of HTTP may also write first, on a connection that nobody used: that its time is over
 * (408), or its settings (HTTP/2). Those count for nothing.
 */

#include <stdlib.h>
#include <string.h>

#include "detect.h"
#include "misnamed.h"
#include "../network.h"

struct configuration {
  const struct network_filter *filter;
};

struct connection {
  const struct network_filter *filter;
  bool is_known;
};

static void *configure(struct envoy_text config) {
  (void)config;
  struct configuration *configuration = malloc(sizeof *configuration);
  if (configuration != NULL) configuration->filter = &server_first;
  return configuration;
}

static void *create(void *config, void *filter) {
  (void)config, (void)filter;
  struct connection *connection = malloc(sizeof *connection);
  if (connection != NULL) *connection = (struct connection){.filter = &server_first};
  return connection;
}

static void on_new_connection(void *filter) { (void)filter; }

static int on_read(void *filter, void *in_module, size_t length, bool end) {
  (void)filter, (void)length, (void)end;
  ((struct connection *)in_module)->is_known = true;
  return ENVOY_CONTINUE;
}

/** Of as many pieces as first bytes have at most. */
enum { MOST_CHUNKS = 8 };

static struct envoy_text first_bytes(void *filter) {
  struct envoy_text chunks[MOST_CHUNKS] = {{"", 0}};
  size_t count = envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks_size(filter);
  if (count > 0 && count <= MOST_CHUNKS) envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks(filter, chunks);
  return chunks[0];
}

static void on_write(void *filter, void *in_module, size_t length) {
  struct connection *connection = in_module;
  if (connection->is_known || length == 0) return;
  connection->is_known = true;
  struct envoy_text bytes = first_bytes(filter), first;
  // A client that has spoken waits for nothing, though its bytes come here later.
  if (envoy_dynamic_module_callback_network_get_dynamic_metadata_string(filter, metadata_namespace, client_first_key, &first)) return;
  if (bytes.length == 0 || is_http_answer(bytes.start, bytes.length)) return;
  struct envoy_text ip = {"", 0};
  uint32_t port = 0;
  envoy_dynamic_module_callback_network_filter_get_local_address(filter, &ip, &port);
  if (!misnamed_may_report(BY_SERVER, ip, port)) return;
  envoy_dynamic_module_callback_network_set_dynamic_metadata_string(
      filter, metadata_namespace, spoke_key, (struct envoy_text){"server first", 12});
}

static void on_event(void *connection, int event) { (void)connection, (void)event; }

static void on_scheduled(void *filter, void *connection, uint64_t event) { (void)filter, (void)connection, (void)event; }

const struct network_filter server_first = {
    .configure = configure,
    .create = create,
    .on_new_connection = on_new_connection,
    .on_read = on_read,
    .on_write = on_write,
    .on_event = on_event,
    .on_scheduled = on_scheduled,
    .destroy = free,
};
