/* What Envoy calls, of all that this module has. */
#ifndef LIGHTPATH_MODULE_H
#define LIGHTPATH_MODULE_H

#include "envoy.h"

const char *envoy_dynamic_module_on_program_init(void);

void *envoy_dynamic_module_on_network_filter_config_new(void *envoy, struct envoy_text name, struct envoy_text config);
void envoy_dynamic_module_on_network_filter_config_destroy(void *config);
void *envoy_dynamic_module_on_network_filter_new(void *config, void *filter);
int envoy_dynamic_module_on_network_filter_new_connection(void *filter, void *connection);
int envoy_dynamic_module_on_network_filter_read(void *filter, void *connection, size_t length, bool end);
int envoy_dynamic_module_on_network_filter_write(void *filter, void *connection, size_t length, bool end);
void envoy_dynamic_module_on_network_filter_event(void *filter, void *connection, int event);
void envoy_dynamic_module_on_network_filter_scheduled(void *filter, void *connection, uint64_t event);
void envoy_dynamic_module_on_network_filter_destroy(void *connection);

void *envoy_dynamic_module_on_http_filter_config_new(void *envoy, struct envoy_text name, struct envoy_text config);
void envoy_dynamic_module_on_http_filter_config_destroy(void *config);
void *envoy_dynamic_module_on_http_filter_new(void *config, void *filter);
int envoy_dynamic_module_on_http_filter_request_headers(void *filter, void *request, bool end);
int envoy_dynamic_module_on_http_filter_request_body(void *filter, void *request, bool end);
int envoy_dynamic_module_on_http_filter_request_trailers(void *filter, void *request);
int envoy_dynamic_module_on_http_filter_response_headers(void *filter, void *request, bool end);
int envoy_dynamic_module_on_http_filter_response_body(void *filter, void *request, bool end);
int envoy_dynamic_module_on_http_filter_response_trailers(void *filter, void *request);
void envoy_dynamic_module_on_http_filter_stream_complete(void *filter, void *request);
void envoy_dynamic_module_on_http_filter_destroy(void *request);

void *envoy_dynamic_module_on_lb_config_new(void *envoy, struct envoy_text name, struct envoy_text config);
void envoy_dynamic_module_on_lb_config_destroy(void *config);
void *envoy_dynamic_module_on_lb_new(void *config, void *envoy);
bool envoy_dynamic_module_on_lb_choose_host(
    void *envoy, void *balancer, void *context, uint32_t *priority, uint32_t *index);
void envoy_dynamic_module_on_lb_on_host_membership_update(void *envoy, void *balancer, size_t added, size_t removed);
void envoy_dynamic_module_on_lb_destroy(void *balancer);

void *envoy_dynamic_module_on_access_logger_config_new(void *envoy, struct envoy_text name, struct envoy_text config);
void envoy_dynamic_module_on_access_logger_config_destroy(void *config);
void *envoy_dynamic_module_on_access_logger_new(void *config, void *envoy);
void envoy_dynamic_module_on_access_logger_log(void *envoy, void *logger, int type);
void envoy_dynamic_module_on_access_logger_destroy(void *logger);

void *envoy_dynamic_module_on_listener_filter_config_new(void *envoy, struct envoy_text name, struct envoy_text config);
void envoy_dynamic_module_on_listener_filter_config_destroy(void *config);
void *envoy_dynamic_module_on_listener_filter_new(void *config, void *filter);
int envoy_dynamic_module_on_listener_filter_on_accept(void *filter, void *detection);
int envoy_dynamic_module_on_listener_filter_on_data(void *filter, void *detection, size_t length);
void envoy_dynamic_module_on_listener_filter_scheduled(void *filter, void *detection, uint64_t event);
void envoy_dynamic_module_on_listener_filter_on_close(void *filter, void *detection);
size_t envoy_dynamic_module_on_listener_filter_get_max_read_bytes(void *filter, void *detection);
void envoy_dynamic_module_on_listener_filter_destroy(void *detection);

#endif
