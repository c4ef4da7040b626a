/* What is known of some first bytes, that all that may still be told is waited for, and random bytes by which nothing is read beyond them. */

#include "../detection/detect.h"
#include "tests.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *bytes;
  enum protocol protocol;
} known[] = {
    {"GET / HTTP/1.1\r\n", HTTP1},
    {"\r\nGET / HTTP/1.0\r\n", HTTP1},
    {"GET /a-path-that-goes-on", HTTP1},
    {"BREW /pot HTTP/1.1\n", HTTP1},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP2},
    {"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", HTTP1},
    {"GET / HTTP/1.1\r\nUpgrade:\tTLS/1.2\r\n\r\n", HTTP1},
    {"GET / HTTP/1.1\r\nupgrade: h2c\r\n\r\n", HTTP1},
    {"GET / HTTP/1.1\r\nUpgrade: \r\n\r\n", HTTP1},
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\nUpgrade: tcp\r\n", HTTP1},
    {"POST /attach HTTP/1.1\r\nHost: a\r\nUPGRADE: tcp\r\n\r\n", OTHER},
    {"GET /exec HTTP/1.1\nUpgrade: SPDY/3.1\n\n", OTHER},
    {"CONNECT a:443 HTTP/1.1\r\n", OTHER},
    {"", UNKNOWN},
    {"BREW", UNKNOWN},
    {"BREW /pot", UNKNOWN},
    {"PRI * HT", UNKNOWN},
    {"CONNECT a:443", OTHER},
    {"get / HTTP/1.1\r\n", OTHER},
    {"G:T / HTTP/1.1\r\n", OTHER},
    {"QUERY / HTTP/1.1\r\n", OTHER},
    {"GET http://a/ HTTP/1.1\r\n", OTHER},
    {"OPTIONS * HTTP/1.1\r\n", OTHER},
    {"GET /a#b HTTP/1.1\r\n", OTHER},
    {"GET /caf\xc3\xa9 HTTP/1.1\r\n", OTHER},
    {"GET  / HTTP/1.1\r\n", OTHER},
    {"GET / a HTTP/1.1\r\n", OTHER},
    {"GET / HTTP/1.2\r\n", OTHER},
    {"GET / HTTP/1.1 \r\n", OTHER},
    {"GET /\r\n", OTHER},
    {"GET key\r\n", OTHER},
    {"PING\r\n", OTHER},
    {"EHLO a\r\n", OTHER},
    {"*1\r\n$4\r\nPING\r\n", OTHER},
    {"\x16\x03\x01\x02", OTHER},
    {"AMQP\x01", OTHER},
    {" GET / HTTP/1.1\r\n", OTHER},
    {"PROXY TCP4 10.0.0.1 10.0.0.2 1000 80\r\nGET / HTTP/1.1\r\n", OTHER},
};

/** In memory of just that size, which the sanitizer watches. */
static enum protocol detect_copy(const char *bytes, size_t length) {
  char *copy = malloc(length);
  memcpy(copy, bytes, length);
  enum protocol protocol = detect(copy, length);
  if (protocol == OTHER) other_protocol(copy, length);
  free(copy);
  return protocol;
}

void test_detection(unsigned (*draw)(unsigned)) {
  assert(strcmp(other_protocol("\x16\x03\x01", 3), "TLS") == 0);
  assert(strcmp(other_protocol("PING\r\n", 6), "no HTTP") == 0);
  assert(other_protocol("CONNECT a:443 HTTP/1.1\r\n", 24) == NULL);
  assert(other_protocol("\r\nCONNECT a:443 HTTP/1.1\r\n", 26) == NULL);
  assert(strcmp(other_protocol("\r\n", 2), "no HTTP") == 0);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    const char *bytes = known[i].bytes;
    size_t length = strlen(bytes);
    assert(detect_copy(bytes, length) == known[i].protocol);
    // What is HTTP or may be is not taken for something else while it comes.
    for (size_t part = 0; known[i].protocol != OTHER && part < length; part++) assert(detect_copy(bytes, part) != OTHER);
  }
  static const char alphabet[] = "GET PUTHP/12.0:\r\n \tupgrade\x00\x80";
  for (int round = 0; round < 200000; round++) {
    char bytes[64];
    size_t length = draw(sizeof bytes);
    const char *base = known[draw(sizeof known / sizeof *known)].bytes;
    size_t kept = strlen(base) < length ? strlen(base) : length;
    memcpy(bytes, base, kept);
    for (size_t i = kept; i < length; i++) bytes[i] = alphabet[draw(sizeof alphabet)];
    if (length > 0 && draw(2) == 0) bytes[draw((unsigned)length)] = (char)draw(256);
    detect_copy(bytes, length);
  }
}
