/*
 * A connection is HTTP where its first line is that of a request (RFC 9112 section 3), and HTTP/2 where it begins with the preface (RFC
 * 9113 section 3.4). Of a line that is not whole a usual method says enough, so that only other ones are waited for.
 *
 * What Envoy would not pass on as it came counts as no HTTP, so that its connection goes to one endpoint, byte by byte: a first line
 * that is not strictly so, targets that are no path (a proxy's, `*`), and a tunnel (CONNECT, Upgrade), where both sides may end theirs
 * apart. Upgrades to WebSocket stay HTTP, since their ends are messages, and offers that servers as a rule do not take up (h2c, TLS).
 */

#include "detect.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct text {
  const char *start;
  size_t length;
};

/** RFC 9113 section 6.5. */
enum { SETTINGS = 4 };

static const char *const usual_methods[] = {"GET /", "POST /", "HEAD /", "PUT /", "DELETE /", "PATCH /", "OPTIONS /", "PROPFIND /"};
static const char *const balanced_upgrades[] = {"websocket", "h2c", "tls/"};

static bool begins(struct text text, const char *with) {
  size_t length = strlen(with);
  return text.length >= length && memcmp(text.start, with, length) == 0;
}

static bool begins_in_any_case(struct text text, const char *with) {
  size_t length = strlen(with);
  return text.length >= length && strncasecmp(text.start, with, length) == 0;
}

static struct text from(struct text text, size_t offset) {
  return (struct text){text.start + offset, text.length - offset};
}

static bool equals(struct text text, const char *with) { return text.length == strlen(with) && begins(text, with); }

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/** RFC 9110 section 5.6.2, without small letters, which no method has. */
static bool is_of_method(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/** What Envoy takes of a path. */
static bool is_of_target(char c) { return c > ' ' && c < 0x7f && c != '#'; }

/** Methods that Envoy 1.40 answers itself, with 400, and that ask for a tunnel. */
static bool is_refused(struct text method) { return equals(method, "QUERY") || equals(method, "CONNECT"); }

/** Takes a line off the text. @return false where no line of it is whole */
static bool next_line(struct text *text, struct text *line) {
  const char *end = memchr(text->start, '\n', text->length);
  if (end == NULL) return false;
  size_t length = (size_t)(end - text->start);
  *line = (struct text){text->start, length > 0 && end[-1] == '\r' ? length - 1 : length};
  *text = from(*text, length + 1);
  return true;
}

/** The form that most requests have, in the letter. */
struct request_line {
  struct text method, target, version;
  /** What has come of it is as it should be. */
  bool is_good;
};

static struct text take_while(struct text *text, bool (*holds)(char)) {
  size_t length = 0;
  while (length < text->length && holds(text->start[length])) length++;
  struct text taken = {text->start, length};
  *text = from(*text, length);
  return taken;
}

/** @return false where something else is there; at the end of the text true */
static bool take_space(struct text *text) {
  if (text->length == 0) return true;
  if (*text->start != ' ') return false;
  *text = from(*text, 1);
  return true;
}

/** @param text a whole line, or the beginning of one */
static struct request_line parse_line(struct text text) {
  struct request_line line = {.method = take_while(&text, is_of_method)};
  line.is_good = (line.method.length > 0 || text.length == 0) && take_space(&text);
  if (!line.is_good) return line;
  line.target = take_while(&text, is_of_target);
  line.is_good = (text.length == 0 || line.target.length > 0) && (line.target.length == 0 || *line.target.start == '/') && take_space(&text);
  line.version = text;
  return line;
}

static bool is_whole_request(struct request_line line) {
  bool is_known = line.version.length == 8 && (begins(line.version, "HTTP/1.1") || begins(line.version, "HTTP/1.0"));
  return line.is_good && line.method.length > 0 && line.target.length > 0 && is_known && !is_refused(line.method);
}

static bool is_balanced(struct text upgrade) {
  while (upgrade.length > 0 && is_blank(*upgrade.start)) upgrade = from(upgrade, 1);
  if (upgrade.length == 0) return true;
  for (size_t i = 0; i < sizeof balanced_upgrades / sizeof *balanced_upgrades; i++)
    if (begins_in_any_case(upgrade, balanced_upgrades[i])) return true;
  return false;
}

/** @param head behind the first line, as much of it as there is */
static bool asks_for_tunnel(struct text head) {
  static const char name[] = "upgrade:";
  for (struct text line; next_line(&head, &line) && line.length > 0;)
    if (begins_in_any_case(line, name) && !is_balanced(from(line, sizeof name - 1))) return true;
  return false;
}

/** RFC 9112 section 2.2: empty lines before a request are none of it. */
static struct text without_empty_lines(struct text text) {
  while (text.length > 0 && (*text.start == '\r' || *text.start == '\n')) text = from(text, 1);
  return text;
}

const char *other_protocol(const char *bytes, size_t length) {
  struct text text = {bytes, length}, line;
  // RFC 8446 section 5.1: a record of type handshake, of a version 3.x.
  if (begins(text, "\x16\x03")) return "TLS";
  text = without_empty_lines(text);
  if (!next_line(&text, &line)) line = text;
  static const char version[] = " HTTP/1.";
  for (size_t i = 0; i + sizeof version <= line.length; i++)
    if (begins(from(line, i), version)) return NULL;
  return "no HTTP";
}

bool is_http_answer(const char *bytes, size_t length) {
  // A frame: its length in three bytes, type, flags, and the stream's number in four.
  static const char whole_connection[4];
  static const char name[] = "HTTP/";
  size_t of_name = length < sizeof name - 1 ? length : sizeof name - 1;
  if (memcmp(bytes, name, of_name) == 0) return true;
  return length >= 9 && bytes[3] == SETTINGS && memcmp(bytes + 5, whole_connection, sizeof whole_connection) == 0;
}

enum protocol detect(const char *bytes, size_t length) {
  struct text text = without_empty_lines((struct text){bytes, length});
  static const char preface[] = "PRI * HTTP/2.0\r\n";
  if (begins(text, preface)) return HTTP2;
  struct text line, head = text;
  if (next_line(&head, &line)) return is_whole_request(parse_line(line)) && !asks_for_tunnel(head) ? HTTP1 : OTHER;
  for (size_t i = 0; i < sizeof usual_methods / sizeof *usual_methods; i++)
    if (begins(text, usual_methods[i])) return HTTP1;
  bool may_be_http2 = text.length < sizeof preface - 1 && memcmp(text.start, preface, text.length) == 0;
  return (may_be_http2 || parse_line(text).is_good) && length < MOST_FIRST_BYTES ? UNKNOWN : OTHER;
}
