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
/** Events of a connection: its client, or Envoy, has closed it. Others are greater. */
enum { ENVOY_REMOTE_CLOSE = 0, ENVOY_LOCAL_CLOSE = 1 };
/** The attribute connection.id. */
enum { ENVOY_CONNECTION_ID = 28 };

/** Of a connection's network filter; on its worker's thread. */
uint64_t envoy_dynamic_module_callback_network_filter_get_connection_id(void *filter);
/** The address that the client connected to. */
bool envoy_dynamic_module_callback_network_filter_get_local_address(void *filter, struct envoy_text *ip, uint32_t *port);
size_t envoy_dynamic_module_callback_network_filter_get_read_buffer_size(void *filter);
void envoy_dynamic_module_callback_network_filter_enable_half_close(void *filter, bool enabled);
/** Hands what is in the read buffer to the filters behind this one, which take from it what they can. */
void envoy_dynamic_module_callback_network_filter_continue_reading(void *filter);
void envoy_dynamic_module_callback_network_filter_close(void *filter, int how);
/** What is being written, in on_write: so many pieces, into an array of as many. */
size_t envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks_size(void *filter);
bool envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks(void *filter, struct envoy_text *chunks);
/** Of the connection, for its access log. */
void envoy_dynamic_module_callback_network_set_dynamic_metadata_string(
    void *filter, struct envoy_text name, struct envoy_text key, struct envoy_text value);
/** Calls the filter again when what is under way is done, and not once it is gone. */
void *envoy_dynamic_module_callback_network_filter_scheduler_new(void *filter);
void envoy_dynamic_module_callback_network_filter_scheduler_commit(void *scheduler, uint64_t event);
void envoy_dynamic_module_callback_network_filter_scheduler_delete(void *scheduler);

/** @return false where there is none */
bool envoy_dynamic_module_callback_network_get_dynamic_metadata_string(
    void *filter, struct envoy_text name, struct envoy_text key, struct envoy_text *value);

/** Of a request's HTTP filter. */
bool envoy_dynamic_module_callback_http_filter_get_attribute_int(void *filter, int attribute, uint64_t *value);

/** Of a cluster's endpoints: a stat of one, by its index among all. */
enum { ENVOY_REQUESTS_ACTIVE = 7 };

/** Of a load balancer; on its worker's thread. Priorities and indices are as Envoy has them until its members change. */
size_t envoy_dynamic_module_callback_lb_get_priority_set_size(void *balancer);
size_t envoy_dynamic_module_callback_lb_get_hosts_count(void *balancer, uint32_t priority);
size_t envoy_dynamic_module_callback_lb_get_healthy_hosts_count(void *balancer, uint32_t priority);
/** Written as `10.0.0.1:80` or `[fd00::1]:80`. */
bool envoy_dynamic_module_callback_lb_get_host_address(
    void *balancer, uint32_t priority, size_t index, struct envoy_text *address);
bool envoy_dynamic_module_callback_lb_get_healthy_host_address(
    void *balancer, uint32_t priority, size_t index, struct envoy_text *address);
uint64_t envoy_dynamic_module_callback_lb_get_host_stat(void *balancer, uint32_t priority, size_t index, int stat);
/** Whether a request that was tried at this endpoint, of all, is to go elsewhere. */
bool envoy_dynamic_module_callback_lb_context_should_select_another_host(
    void *balancer, void *context, uint32_t priority, size_t index);

/** Nanoseconds: the start since 1970, all else since the start; -1: not yet. */
struct envoy_timing {
  int64_t start;
  int64_t complete;
  int64_t first_byte_to_endpoint;
  int64_t last_byte_to_endpoint;
  int64_t first_byte_from_endpoint;
  int64_t last_byte_from_endpoint;
  int64_t first_byte_to_client;
  int64_t last_byte_to_client;
};

/** Bits of a record's response flags: the try timed out, was reset, or had no connection or lost it. */
enum { ENVOY_TRY_FAILED = 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 };
enum { ENVOY_RESPONSE_HEADERS = 2 };

/** Of an access logger, while it logs. */
bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(
    void *logger, struct envoy_text *ip, uint32_t *port);
bool envoy_dynamic_module_callback_access_logger_get_route_name(void *logger, struct envoy_text *name);
void envoy_dynamic_module_callback_access_logger_get_timing_info(void *logger, struct envoy_timing *timing);
/** @return 0 where there was no answer */
uint32_t envoy_dynamic_module_callback_access_logger_get_response_code(void *logger);
uint64_t envoy_dynamic_module_callback_access_logger_get_response_flags(void *logger);
bool envoy_dynamic_module_callback_access_logger_get_header_value(
    void *logger, int headers, struct envoy_text name, struct envoy_text *value, size_t index, size_t *count);

/** Of a connection's listener filter; on its worker's thread, before the connection has its other filters. */
int64_t envoy_dynamic_module_callback_listener_filter_get_socket_fd(void *filter);
/** The address that the client connected to. */
bool envoy_dynamic_module_callback_listener_filter_get_local_address(void *filter, struct envoy_text *ip, uint32_t *port);
bool envoy_dynamic_module_callback_listener_filter_get_remote_address(void *filter, struct envoy_text *ip, uint32_t *port);
/** What has come so far, in on_data. */
bool envoy_dynamic_module_callback_listener_filter_get_buffer_chunk(void *filter, struct envoy_text *chunk);
/** Of the connection to be, for its access log. */
void envoy_dynamic_module_callback_listener_filter_set_dynamic_metadata_string(
    void *filter, struct envoy_text name, struct envoy_text key, struct envoy_text value);
/** Goes on where a filter answered ENVOY_STOP, as if it now answered ENVOY_CONTINUE. The filter stays until the call is over. */
void envoy_dynamic_module_callback_listener_filter_continue_filter_chain(void *filter, bool success);
/** As those of network filters. */
void *envoy_dynamic_module_callback_listener_filter_scheduler_new(void *filter);
void envoy_dynamic_module_callback_listener_filter_scheduler_commit(void *scheduler, uint64_t event);
void envoy_dynamic_module_callback_listener_filter_scheduler_delete(void *scheduler);
/** By which the listener chooses among its filter chains. */
void envoy_dynamic_module_callback_listener_filter_set_requested_application_protocols(void *filter, struct envoy_text *protocols,
                                                                                       size_t count);

#endif
