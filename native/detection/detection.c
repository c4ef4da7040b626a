/*
 * A listener filter that tells HTTP from all else, in place of Envoy's http_inspector, with which Envoy 1.40 resets a connection whose
 * FIN is there while a listener filter waits for bytes.
 *
 * A client that speaks first does so some microseconds after its handshake, so the filter waits for it in place, for five
 * milliseconds at most: nearly always all is known at once. A worker gives no more than a quarter of its time to that, so that who
 * connects and says nothing, be it thousands, holds up nobody: beyond it Envoy waits, for a second, with the reset as the risk.
 */

/* For ppoll. */
#define _GNU_SOURCE

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../clock.h"
#include "detect.h"
#include "misnamed.h"
#include "../module.h"

/** Of a request's head, so that an Upgrade is seen. */
enum { MOST_HEAD_BYTES = 8192 };

static char configuration;

void *envoy_dynamic_module_on_listener_filter_config_new(void *envoy, struct envoy_text name, struct envoy_text config) {
  (void)envoy, (void)name, (void)config;
  return &configuration;
}

void envoy_dynamic_module_on_listener_filter_config_destroy(void *config) { (void)config; }

/** Nothing is kept of a connection. */
void *envoy_dynamic_module_on_listener_filter_new(void *config, void *filter) {
  (void)filter;
  return config;
}

void envoy_dynamic_module_on_listener_filter_destroy(void *in_module) { (void)in_module; }

static void report(void *filter, const char *spoke) {
  struct envoy_text ip = {"", 0};
  uint32_t port = 0;
  if (spoke == NULL) return;
  envoy_dynamic_module_callback_listener_filter_get_local_address(filter, &ip, &port);
  if (!misnamed_may_report(BY_CLIENT, ip, port)) return;
  struct envoy_text value = {spoke, strlen(spoke)};
  envoy_dynamic_module_callback_listener_filter_set_dynamic_metadata_string(filter, metadata_namespace, metadata_key, value);
}

static int decide(void *filter, const char *bytes, size_t length) {
  enum protocol protocol = detect(bytes, length);
  if (protocol == UNKNOWN) return ENVOY_STOP;
  if (protocol == OTHER) {
    report(filter, other_protocol(bytes, length));
    return ENVOY_CONTINUE;
  }
  // As http_inspector calls them.
  struct envoy_text name = protocol == HTTP2 ? (struct envoy_text){"h2c", 3} : (struct envoy_text){"http/1.1", 8};
  envoy_dynamic_module_callback_listener_filter_set_requested_application_protocols(filter, &name, 1);
  return ENVOY_CONTINUE;
}

/** Nanoseconds: how long a worker waits for one client, and its share of the time that it has saved up, at most forty waits. */
enum { PATIENCE = 5000000, SHARE = 4, MOST_SAVED = 40 * PATIENCE };

/** Returns when bytes are there, the client's end, or the time for it is over. */
static void await_bytes(int socket) {
  static _Thread_local int64_t saved = MOST_SAVED, since;
  int64_t began = (int64_t)clock_now();
  if (since != 0) saved += (began - since) / SHARE;
  if (saved > MOST_SAVED) saved = MOST_SAVED;
  since = began;
  if (saved < PATIENCE) return;
  struct pollfd waited = {.fd = socket, .events = POLLIN};
  struct timespec patience = {.tv_nsec = PATIENCE};
  ppoll(&waited, 1, &patience, NULL);
  saved -= (int64_t)clock_now() - began;
}

static ssize_t peek(int socket, char *bytes, size_t size) { return recv(socket, bytes, size, MSG_PEEK | MSG_DONTWAIT); }

int envoy_dynamic_module_on_listener_filter_on_accept(void *filter, void *in_module) {
  (void)in_module;
  int socket = (int)envoy_dynamic_module_callback_listener_filter_get_socket_fd(filter);
  char bytes[MOST_HEAD_BYTES];
  ssize_t length = peek(socket, bytes, sizeof bytes);
  if (length < 0 && errno == EAGAIN) {
    await_bytes(socket);
    length = peek(socket, bytes, sizeof bytes);
  }
  if (length > 0) return decide(filter, bytes, (size_t)length);
  return length < 0 && (errno == EAGAIN || errno == EINTR) ? ENVOY_STOP : ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_listener_filter_on_data(void *filter, void *in_module, size_t length) {
  (void)in_module, (void)length;
  struct envoy_text text;
  if (!envoy_dynamic_module_callback_listener_filter_get_buffer_chunk(filter, &text)) return ENVOY_STOP;
  return decide(filter, text.start, text.length);
}

size_t envoy_dynamic_module_on_listener_filter_get_max_read_bytes(void *filter, void *in_module) {
  (void)filter, (void)in_module;
  return MOST_FIRST_BYTES;
}

void envoy_dynamic_module_on_listener_filter_on_close(void *filter, void *in_module) { (void)filter, (void)in_module; }

/* Envoy wants each of these to be there, and calls none of them. */
#define NEVER_CALLED(event) \
  void envoy_dynamic_module_on_listener_filter_##event(void) {}
NEVER_CALLED(scheduled)
NEVER_CALLED(config_scheduled)
NEVER_CALLED(http_callout_done)
