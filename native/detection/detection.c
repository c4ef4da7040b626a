/*
 * A listener filter that tells HTTP from all else, in place of Envoy's http_inspector, with which Envoy 1.40 resets a connection whose
 * FIN is there while a listener filter waits for bytes.
 *
 * A client that speaks first does so some microseconds after its handshake, so the filter waits for it in place, for five
 * milliseconds at most: nearly always all is known at once. Who connects and says nothing, be it thousands, holds up nobody (patience.h):
 * beyond that Envoy waits, for as long as the configuration says (silent.h), with the reset as the risk.
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
#include "patience.h"
#include "silent.h"
#include "../module.h"
#include "../number.h"

/** Of a request's head, so that an Upgrade is seen. */
enum { MOST_HEAD_BYTES = 8192 };

/** A client's connection, until it is known what it speaks. */
struct client {
  struct silent silent;
  uint64_t most_ms;
  /** For how many bytes Envoy is to make room while it waits. It writes all of that first, which is most of what an idle connection costs. */
  size_t room;
};

struct configuration {
  /** How long a client may be silent. */
  uint64_t most_ms;
};

/** @return NULL for a configuration that is no number */
void *envoy_dynamic_module_on_listener_filter_config_new(void *envoy, struct envoy_text name, struct envoy_text config) {
  (void)envoy, (void)name;
  uint64_t most_ms;
  if (!number_of(config, &most_ms)) return NULL;
  struct configuration *configuration = malloc(sizeof *configuration);
  if (configuration != NULL) *configuration = (struct configuration){most_ms};
  return configuration;
}

void envoy_dynamic_module_on_listener_filter_config_destroy(void *config) { free(config); }

void *envoy_dynamic_module_on_listener_filter_new(void *config, void *filter) {
  struct client *client = malloc(sizeof *client);
  if (client == NULL) return NULL;
  *client = (struct client){.silent.filter = filter, .most_ms = ((struct configuration *)config)->most_ms, .room = MOST_HEAD_BYTES};
  return client;
}

void envoy_dynamic_module_on_listener_filter_destroy(void *in_module) {
  struct client *client = in_module;
  silent_no_more(&client->silent);
  free(client);
}

static void set_metadata(void *filter, struct envoy_text key, struct envoy_text value) {
  envoy_dynamic_module_callback_listener_filter_set_dynamic_metadata_string(filter, metadata_namespace, key, value);
}

static void report(void *filter, const char *spoke) {
  struct envoy_text ip = {"", 0};
  uint32_t port = 0;
  set_metadata(filter, client_first_key, (struct envoy_text){"true", 4});
  if (spoke == NULL) return;
  envoy_dynamic_module_callback_listener_filter_get_local_address(filter, &ip, &port);
  if (!misnamed_may_report(BY_CLIENT, ip, port)) return;
  set_metadata(filter, spoke_key, (struct envoy_text){spoke, strlen(spoke)});
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

static ssize_t peek(int socket, char *bytes, size_t size) { return recv(socket, bytes, size, MSG_PEEK | MSG_DONTWAIT); }

static bool is_silent(ssize_t length) { return length < 0 && (errno == EAGAIN || errno == EINTR); }

static int64_t wait_for(int socket, int64_t patience, int64_t began) {
  struct pollfd waited = {.fd = socket, .events = POLLIN};
  struct timespec most = {.tv_nsec = patience};
  ppoll(&waited, 1, &most, NULL);
  return (int64_t)clock_now() - began;
}

static struct envoy_text address_of(void *filter) {
  struct envoy_text ip = {"", 0};
  uint32_t port = 0;
  envoy_dynamic_module_callback_listener_filter_get_remote_address(filter, &ip, &port);
  return ip;
}

/** As `peek`, when something is there, the client's end as well, or the time for it is over. */
static ssize_t await_bytes(void *filter, int socket, char *bytes, size_t size) {
  struct envoy_text ip = address_of(filter);
  int64_t waited = 0;
  ssize_t length = peek(socket, bytes, size);
  if (is_silent(length)) {
    int64_t now = (int64_t)clock_now(), patience = patience_with(ip, now);
    if (patience == 0) return length;
    waited = wait_for(socket, patience, now);
    length = peek(socket, bytes, size);
  }
  patience_learn(ip, !is_silent(length), waited);
  return length;
}

int envoy_dynamic_module_on_listener_filter_on_accept(void *filter, void *in_module) {
  int socket = (int)envoy_dynamic_module_callback_listener_filter_get_socket_fd(filter);
  char bytes[MOST_HEAD_BYTES];
  ssize_t length = await_bytes(filter, socket, bytes, sizeof bytes);
  bool waits = length > 0 ? decide(filter, bytes, (size_t)length) == ENVOY_STOP : is_silent(length);
  struct client *client = in_module;
  return waits && silent_wait(&client->silent, client->most_ms) ? ENVOY_STOP : ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_listener_filter_on_data(void *filter, void *in_module, size_t length) {
  (void)length;
  struct client *client = in_module;
  patience_learn(address_of(filter), true, 0);
  struct envoy_text text;
  if (!envoy_dynamic_module_callback_listener_filter_get_buffer_chunk(filter, &text)) return ENVOY_STOP;
  // Envoy reads again where more room is asked for than it made.
  if (text.length == client->room && client->room < MOST_FIRST_BYTES) client->room *= 2;
  int decision = decide(filter, text.start, text.length);
  if (decision == ENVOY_CONTINUE) silent_no_more(&client->silent);
  return decision;
}

void envoy_dynamic_module_on_listener_filter_scheduled(void *filter, void *in_module, uint64_t event) {
  (void)event;
  if (silent_too_long(&((struct client *)in_module)->silent))
    envoy_dynamic_module_callback_listener_filter_continue_filter_chain(filter, true);
}

size_t envoy_dynamic_module_on_listener_filter_get_max_read_bytes(void *filter, void *in_module) {
  (void)filter;
  return ((struct client *)in_module)->room;
}

void envoy_dynamic_module_on_listener_filter_on_close(void *filter, void *in_module) {
  (void)filter;
  silent_no_more(&((struct client *)in_module)->silent);
}

/* Envoy wants each of these to be there, and calls none of them. */
#define NEVER_CALLED(event) \
  void envoy_dynamic_module_on_listener_filter_##event(void) {}
NEVER_CALLED(config_scheduled)
NEVER_CALLED(http_callout_done)
