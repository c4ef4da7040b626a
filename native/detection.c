/*
 * A listener filter that tells HTTP from all else, in place of Envoy's http_inspector, with which Envoy 1.40 resets a connection whose
 * FIN is there while a listener filter waits for bytes.
 *
 * Here the kernel waits: with TCP_DEFER_ACCEPT on the listening socket a connection comes with its first bytes, or when its client has
 * sent nothing for a second. So nearly always all is known at once. What is left to wait for is a first line in several packets
 * whose method is no usual one, and a client whose handshake the kernel did not keep (SYN cookies).
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "detect.h"
#include "module.h"

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

static int decide(void *filter, const char *bytes, size_t length) {
  enum protocol protocol = detect(bytes, length);
  if (protocol == UNKNOWN) return ENVOY_STOP;
  // As http_inspector calls them.
  struct envoy_text name = protocol == HTTP2 ? (struct envoy_text){"h2c", 3} : (struct envoy_text){"http/1.1", 8};
  if (protocol != OTHER) envoy_dynamic_module_callback_listener_filter_set_requested_application_protocols(filter, &name, 1);
  return ENVOY_CONTINUE;
}

/** The kernel has waited already: it has sent its answer to the SYN once more. */
static bool was_waited_for(int socket) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  return getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_total_retrans > 0;
}

int envoy_dynamic_module_on_listener_filter_on_accept(void *filter, void *in_module) {
  (void)in_module;
  int socket = (int)envoy_dynamic_module_callback_listener_filter_get_socket_fd(filter);
  char bytes[MOST_HEAD_BYTES];
  ssize_t length = recv(socket, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  if (length > 0) return decide(filter, bytes, (size_t)length);
  bool may_come = length < 0 && (errno == EAGAIN || errno == EINTR);
  return may_come && !was_waited_for(socket) ? ENVOY_STOP : ENVOY_CONTINUE;
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
