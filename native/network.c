/* Passes what Envoy calls of a connection on to the filter that is meant, by its name in the configuration. */

#include "network.h"

#include <stdlib.h>
#include <string.h>

#include "module.h"

static const struct network_filter *of(void *in_module) { return *(const struct network_filter **)in_module; }

/** @return NULL for a configuration that is none */
void *envoy_dynamic_module_on_network_filter_config_new(void *envoy, struct envoy_text name, struct envoy_text config) {
  (void)envoy;
  static const char other[] = "server-first";
  bool is_other = name.length == sizeof other - 1 && memcmp(name.start, other, name.length) == 0;
  return (is_other ? &server_first : &half_close)->configure(config);
}

void envoy_dynamic_module_on_network_filter_config_destroy(void *config) { free(config); }

/** @return NULL where there is no memory, for which Envoy ends the connection */
void *envoy_dynamic_module_on_network_filter_new(void *config, void *filter) { return of(config)->create(config, filter); }

int envoy_dynamic_module_on_network_filter_new_connection(void *filter, void *connection) {
  of(connection)->on_new_connection(filter);
  return ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_network_filter_read(void *filter, void *connection, size_t length, bool end) {
  return of(connection)->on_read(filter, connection, length, end);
}

int envoy_dynamic_module_on_network_filter_write(void *filter, void *connection, size_t length, bool end) {
  (void)end;
  of(connection)->on_write(filter, connection, length);
  return ENVOY_CONTINUE;
}

void envoy_dynamic_module_on_network_filter_event(void *filter, void *connection, int event) {
  (void)filter;
  of(connection)->on_event(connection, event);
}

void envoy_dynamic_module_on_network_filter_scheduled(void *filter, void *connection, uint64_t event) {
  of(connection)->on_scheduled(filter, connection, event);
}

void envoy_dynamic_module_on_network_filter_destroy(void *connection) { of(connection)->destroy(connection); }
