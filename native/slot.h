/* Tables of a fixed size by address: addresses that meet in a slot share it. */
#ifndef LIGHTPATH_SLOT_H
#define LIGHTPATH_SLOT_H

#include <stdint.h>

#include "envoy.h"

/** FNV-1a, to be taken modulo the size of the table. */
static inline uint32_t slot_of(struct envoy_text ip, uint32_t port) {
  uint32_t hash = 2166136261u ^ port;
  for (size_t i = 0; i < ip.length; i++) hash = (hash ^ (unsigned char)ip.start[i]) * 16777619u;
  return hash ^ hash >> 16;
}

#endif
