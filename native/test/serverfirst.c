/* Plays Envoy to the filter that finds servers that speak first. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../detection/misnamed.h"
#include "../module.h"
#include "tests.h"

static struct envoy_text written;
static unsigned reported;

size_t envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks_size(void *filter) { return filter == NULL ? 0 : 1; }

bool envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks(void *filter, struct envoy_text *chunks) {
  assert(filter != NULL);
  chunks[0] = written;
  return true;
}

void envoy_dynamic_module_callback_network_set_dynamic_metadata_string(
    void *filter, struct envoy_text name, struct envoy_text key, struct envoy_text value) {
  assert(filter != NULL && name.length == 9 && key.length == 5 && value.length > 0);
  reported++;
}

static uint32_t vip_port;

bool envoy_dynamic_module_callback_network_filter_get_local_address(void *filter, struct envoy_text *ip, uint32_t *port) {
  assert(filter != NULL);
  *ip = (struct envoy_text){"10.96.0.1", 9};
  *port = vip_port;
  return true;
}

static bool has_spoken;

bool envoy_dynamic_module_callback_network_get_dynamic_metadata_string(
    void *filter, struct envoy_text name, struct envoy_text key, struct envoy_text *value) {
  assert(filter != NULL && name.length == 9 && key.length == 12);
  *value = (struct envoy_text){"true", 4};
  return has_spoken;
}

static bool is_of_another_port = true;

static bool is_reported(const char *bytes, size_t length, bool client_first) {
  static char envoy;
  struct envoy_text name = {"server-first", 12}, none = {"", 0};
  void *config = envoy_dynamic_module_on_network_filter_config_new(NULL, name, none);
  void *connection = envoy_dynamic_module_on_network_filter_new(config, &envoy);
  unsigned before = reported;
  vip_port += is_of_another_port;
  // Exactly so many bytes, beyond which nothing may be read.
  char *copy = malloc(length > 0 ? length : 1);
  memcpy(copy, bytes, length);
  written = (struct envoy_text){copy, length};
  assert(envoy_dynamic_module_on_network_filter_new_connection(&envoy, connection) == ENVOY_CONTINUE);
  if (client_first) assert(envoy_dynamic_module_on_network_filter_read(&envoy, connection, 1, false) == ENVOY_CONTINUE);
  for (int i = 0; i < 3; i++)
    assert(envoy_dynamic_module_on_network_filter_write(&envoy, connection, length, false) == ENVOY_CONTINUE);
  envoy_dynamic_module_on_network_filter_event(&envoy, connection, ENVOY_REMOTE_CLOSE);
  envoy_dynamic_module_on_network_filter_destroy(connection);
  envoy_dynamic_module_on_network_filter_config_destroy(config);
  free(copy);
  assert(reported <= before + 1);
  return reported > before;
}

/** Within a second, of which a worker reports a few. */
void test_server_first(void) {
  assert(is_reported("220 mail ESMTP\r\n", 16, false));
  assert(!is_reported("220 mail ESMTP\r\n", 16, true));
  assert(!is_reported("", 0, false));
  has_spoken = true;
  assert(!is_reported("220 mail ESMTP\r\n", 16, false));
  has_spoken = false;
  assert(!is_reported("HTTP/1.1 408 Request Timeout\r\n", 30, false));
  assert(!is_reported("HT", 2, false));
  assert(!is_reported("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\144", 15, false));
  assert(is_reported("\0\0\6\4\0\0\0\0\1\0\3\0\0\0\144", 15, false));
  assert(is_reported("J\0\0\0\n8.0.36", 11, false));
  struct envoy_text ip = {"10.96.0.1", 9};
  for (uint32_t i = 0; i < 1000; i++) misnamed_may_report(BY_CLIENT, ip, i);
  assert(is_reported("SSH-2.0-OpenSSH", 15, false));
  // One port leaves the others room, and all together are few.
  is_of_another_port = false;
  for (int i = 0; i < 1000; i++) is_reported("SSH-2.0-OpenSSH", 15, false);
  is_of_another_port = true;
  assert(is_reported("SSH-2.0-OpenSSH", 15, false));
  for (int i = 0; i < 1000; i++) is_reported("SSH-2.0-OpenSSH", 15, false);
  assert(reported < 100);
}
