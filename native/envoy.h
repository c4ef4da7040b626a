/*
 * What this module uses of the ABI for dynamic modules of Envoy 1.40 (v0.2.0). Enumerations are ints there, handles are void
 * pointers. https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/dynamic_modules
 */
#ifndef LIGHTPATH_ENVOY_H
#define LIGHTPATH_ENVOY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENVOY_ABI "v0.2.0"

/** Belongs to Envoy for as long as the call lasts; no zero byte ends it. */
struct envoy_text {
  const char *start;
  size_t length;
};

/** What a filter answers that stops nothing. */
enum { ENVOY_CONTINUE = 0 };
/** What a network filter answers that keeps what was read from those behind it. */
enum { ENVOY_STOP = 1 };
/** Closes a connection once all is written. */
enum { ENVOY_FLUSH_WRITE = 0 };
/** The attribute connection.id. */
enum { ENVOY_CONNECTION_ID = 28 };

/** Of a connection's network filter; on its worker's thread. */
uint64_t envoy_dynamic_module_callback_network_filter_get_connection_id(void *filter);
size_t envoy_dynamic_module_callback_network_filter_get_read_buffer_size(void *filter);
void envoy_dynamic_module_callback_network_filter_enable_half_close(void *filter, bool enabled);
/** Hands what is in the read buffer to the filters behind this one, which take from it what they can. */
void envoy_dynamic_module_callback_network_filter_continue_reading(void *filter);
void envoy_dynamic_module_callback_network_filter_close(void *filter, int how);
/** Calls the filter again when what is under way is done, and not once it is gone. */
void *envoy_dynamic_module_callback_network_filter_scheduler_new(void *filter);
void envoy_dynamic_module_callback_network_filter_scheduler_commit(void *scheduler, uint64_t event);
void envoy_dynamic_module_callback_network_filter_scheduler_delete(void *scheduler);

/** Of a request's HTTP filter. */
bool envoy_dynamic_module_callback_http_filter_get_attribute_int(void *filter, int attribute, uint64_t *value);

#endif
