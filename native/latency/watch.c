/*
 * An access logger of tries (the router's `upstream_log`), that writes nothing: it tells the table how each ended. The connection
 * manager's own log knows the last try of a request alone.
 */

#include <string.h>

#include "../clock.h"
#include "latency.h"
#include "../module.h"

static char configuration, logger;

/** @param config the directory for the table; empty for none */
void *envoy_dynamic_module_on_access_logger_config_new(void *envoy, struct envoy_text name, struct envoy_text config) {
  (void)envoy, (void)name;
  latency_keep_in(config);
  return &configuration;
}

void envoy_dynamic_module_on_access_logger_config_destroy(void *config) { (void)config; }

void *envoy_dynamic_module_on_access_logger_new(void *config, void *envoy) {
  (void)config, (void)envoy;
  return &logger;
}

void envoy_dynamic_module_on_access_logger_destroy(void *in_module) { (void)in_module; }

/**
 * Statuses of gRPC that count as 5xx, as Envoy's outlier detection has them: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
 * UNAVAILABLE, DATA_LOSS. Where an answer begins with the status, as servers send errors, it is in its headers.
 */
static const uint32_t failures_of_grpc = 1 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15;

static bool is_failure_of_grpc(void *envoy) {
  static const struct envoy_text name = {"grpc-status", 11};
  struct envoy_text value;
  if (!envoy_dynamic_module_callback_access_logger_get_header_value(
          envoy, ENVOY_RESPONSE_HEADERS, name, &value, 0, NULL))
    return false;
  uint32_t status = 0;
  for (size_t at = 0; at < value.length && at < 3; at++) {
    if (value.start[at] < '0' || value.start[at] > '9') return false;
    status = 10 * status + (uint32_t)(value.start[at] - '0');
  }
  return status < 32 && (failures_of_grpc >> status & 1);
}

/**
 * From the end of the request, for which a slow client may have taken its time, to the answer's first byte. The time in which there was
 * no connection yet is not in it: an endpoint with few requests has none open, and would look slow for that.
 */
static int64_t time_to_answer(const struct envoy_timing *timing) {
  int64_t answered = timing->first_byte_from_endpoint;
  int64_t began = timing->first_byte_to_endpoint;
  if (began < 0 || began > answered) return answered;
  // An answer may begin before the request has ended.
  int64_t ended = timing->last_byte_to_endpoint;
  return answered - (ended >= began && ended <= answered ? ended : began);
}

void envoy_dynamic_module_on_access_logger_log(void *envoy, void *in_module, int type) {
  (void)in_module, (void)type;
  struct envoy_text ip;
  uint32_t port;
  struct address address;
  if (!envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(envoy, &ip, &port) ||
      !latency_parse(ip, port, &address))
    return;
  struct envoy_timing timing;
  envoy_dynamic_module_callback_access_logger_get_timing_info(envoy, &timing);
  bool has_begun = timing.first_byte_from_endpoint >= 0;
  int64_t latency = has_begun ? time_to_answer(&timing) : timing.complete;
  if (latency < 0) return;
  uint32_t code = envoy_dynamic_module_callback_access_logger_get_response_code(envoy);
  // A client that gave up before there was an answer is no failure.
  bool failed = has_begun ? code >= 500 || (code == 200 && is_failure_of_grpc(envoy))
                          : envoy_dynamic_module_callback_access_logger_get_response_flags(envoy) & ENVOY_TRY_FAILED;
  struct outcome outcome = {.latency = (double)latency, .answered = has_begun && !failed, .failed = failed};
  // Routes are called after the namespace (src/envoy/protocols/httproutes.ts).
  struct envoy_text namespace = {"", 0};
  envoy_dynamic_module_callback_access_logger_get_route_name(envoy, &namespace);
  latency_observe(&address, namespace, &outcome, clock_now());
}
