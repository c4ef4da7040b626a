/* This module's filters of connections. Envoy has the same calls for all of them; network.c finds out which is meant. */
#ifndef LIGHTPATH_NETWORK_H
#define LIGHTPATH_NETWORK_H

#include "envoy.h"

/** The calls of one of them, as in module.h. A configuration, and what a filter keeps of a connection, begin with a pointer to it. */
struct network_filter {
  void *(*configure)(struct envoy_text config);
  /** Of a connection; NULL where there is no memory. */
  void *(*create)(void *config, void *filter);
  void (*on_new_connection)(void *filter);
  int (*on_read)(void *filter, void *connection, size_t length, bool end);
  void (*on_write)(void *filter, void *connection, size_t length);
  void (*on_event)(void *connection, int event);
  void (*on_scheduled)(void *filter, void *connection, uint64_t event);
  void (*destroy)(void *connection);
};

extern const struct network_filter half_close, server_first;

#endif
