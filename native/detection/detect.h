/* What a client speaks, from the first bytes of its connection. */
#ifndef LIGHTPATH_DETECT_H
#define LIGHTPATH_DETECT_H

#include <stdbool.h>
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

/**
 * What OTHER is: "TLS", or "no HTTP"; NULL for HTTP that Envoy would not pass on as it came.
 * @param bytes as for `detect`
 */
const char *other_protocol(const char *bytes, size_t length);

/** Whether a server speaks HTTP that writes this first: an answer, or the settings of HTTP/2 (RFC 9113 section 3.4). */
bool is_http_answer(const char *bytes, size_t length);

#endif
