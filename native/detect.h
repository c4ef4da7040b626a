/* What a client speaks, from the first bytes of its connection. */
#ifndef LIGHTPATH_DETECT_H
#define LIGHTPATH_DETECT_H

#include <stddef.h>

enum protocol {
  /** Cannot be told yet. */
  UNKNOWN,
  HTTP1,
  /** With prior knowledge. */
  HTTP2,
  /** No HTTP, or a tunnel. */
  OTHER,
};

/** The longest first line that is waited for. */
enum { MOST_FIRST_BYTES = 65536 };

/** @param length 0 and more */
enum protocol detect(const char *bytes, size_t length);

#endif
