/** What is not alike, and why. Everything that is not here is alike. */

import type { Aspect } from './input.ts'

interface Difference {
  readonly because: string
  readonly in: readonly Aspect[]
  /** Names of inputs. */
  readonly of: readonly string[]
}

export const differences: readonly Difference[] = [
  {
    because: 'Envoy writes Content-Length: 0 where a request other than GET and HEAD has no body',
    in: ['requests'],
    of: [
      'OPTIONS without a body',
      'PROPFIND without a body',
      'PURGE without a body',
      'LIST without a body',
      'MKCOL without a body',
      'LOCK without a body',
      'SEARCH without a body',
      'REPORT without a body',
      'X without a body',
      'a POST that tells no length',
    ],
  },
  {
    because:
      'the endpoint gets HTTP/1.1 for HTTP/1.0, with a Host, and no HTTP/0.9; the connection ends after the answer unless the client asked for more',
    in: ['end', 'requests'],
    of: ['a body of HTTP/1.0'],
  },
  {
    because:
      'the endpoint gets HTTP/1.1 for HTTP/1.0, with a Host, and no HTTP/0.9; the connection ends after the answer unless the client asked for more',
    in: ['requests'],
    of: ['HTTP/1.0', 'HTTP/1.0 without Host', 'HTTP/1.0 with keep-alive'],
  },
  {
    because:
      'the endpoint gets HTTP/1.1 for HTTP/1.0, with a Host, and no HTTP/0.9; the connection ends after the answer unless the client asked for more',
    in: ['answer', 'requests'],
    of: ['half-close: GET of HTTP/1.0'],
  },
  {
    because: 'RFC 9112 section 3.2: a request without a Host is refused',
    in: ['answer', 'count', 'requests'],
    of: ['no Host'],
  },
  {
    because: 'equal names are joined in one line, a line that goes on is unfolded',
    in: ['requests'],
    of: [
      'a request with Accept: a/b, Accept: c/d',
      'a request with X-Forwarded-For: 192.0.2.1, X-Forwarded-For: 192.0.2.2',
      'two equal Hosts',
      'two Hosts that differ',
      'a header line that goes on',
    ],
  },
  {
    because: 'equal names are joined in one line, a line that goes on is unfolded',
    in: ['answer'],
    of: ['an answer with a header line that goes on'],
  },
  {
    because: 'these headers command Envoy, which obeys no client and leaves them out',
    in: ['requests'],
    of: [
      'a request with X-Envoy-Internal: true',
      'a request with X-Envoy-Retry-On: 5xx',
      'a request with X-Envoy-Max-Retries: 3',
      'a request with X-Envoy-Force-Trace: 1',
      'a request with X-Envoy-Upstream-Rq-Timeout-Ms: 15000',
      'a request with X-Envoy-Expected-Rq-Timeout-Ms: 15000',
    ],
  },
  {
    because: "these are Envoy's own words about a request",
    in: ['answer'],
    of: ['an answer with X-Envoy-Upstream-Service-Time: 86400000'],
  },
  {
    because: 'headers of one hop end there (RFC 9110 section 7.6.1)',
    in: ['requests'],
    of: ['a request with TE: gzip', 'Connection that names a header', 'Upgrade without Connection'],
  },
  {
    because: 'headers of one hop end there (RFC 9110 section 7.6.1)',
    in: ['answer'],
    of: ['an answer with Upgrade: h2c'],
  },
  {
    because: 'Envoy refuses header lines and control characters that break RFC 9110 section 5.5',
    in: ['answer', 'end', 'count', 'requests'],
    of: ['a header without a colon', 'a header with a space before its colon'],
  },
  {
    because: 'Envoy refuses header lines and control characters that break RFC 9110 section 5.5',
    in: ['answer', 'count', 'requests'],
    of: ['a zero byte in a header', 'a control character in a header'],
  },
  {
    because: 'Envoy refuses header lines and control characters that break RFC 9110 section 5.5',
    in: ['end', 'requests'],
    of: ['a bare CR in a header'],
  },
  {
    because: 'Envoy refuses framings that break RFC 9112 section 6, or that it does not know',
    in: ['answer', 'end', 'count', 'requests'],
    of: [
      'two equal lengths',
      'a length that is no number',
      'a negative length',
      'a length with a plus',
      'chunked twice',
      'gzip, chunked',
      'a chunk size that is no number',
    ],
  },
  {
    because: 'RFC 9112 section 6.3: chunked counts, and a length beside it is left out',
    in: ['requests'],
    of: ['a length beside chunked'],
  },
  {
    because: 'RFC 9112 section 6.3: chunked counts, and a length beside it is left out',
    in: ['answer'],
    of: ['an answer with a length beside chunked'],
  },
  {
    because: 'an answer that is complete before its request is ends the connection',
    in: ['end'],
    of: ['an answer in the midst of a body, both go on'],
  },
  {
    because: 'an answer that is complete before its request is ends the connection',
    in: ['end', 'requests'],
    of: ['a body of which the server reads half and answers', 'an answer before the body is there'],
  },
  {
    because: 'Envoy writes the version as HTTP/1.1, and a reason phrase where there is none',
    in: ['answer'],
    of: [
      'an answer that starts with "HTTP/1.1 200"',
      'an answer that starts with "HTTP/1.1 200 "',
      'an answer that starts with "HTTP/1.0 200 OK"',
    ],
  },
  {
    because: "an answer that breaks RFC 9112 is 502: the application's bytes cannot be told from another answer's",
    in: ['answer'],
    of: [
      'an answer that starts with "HTTP/1.1 99 Small"',
      'an answer with chunked twice',
      'an answer with two equal lengths',
      'an answer with a header name with a space',
      'an answer with a header name with a slash',
      'an answer with a header without a colon',
      'an answer of 204 with a body',
      'an answer of 204 with chunks',
    ],
  },
  {
    because: "an answer that breaks RFC 9112 is 502: the application's bytes cannot be told from another answer's",
    in: ['answer', 'end'],
    of: [
      'an answer with two lengths that differ',
      'an answer with identity as transfer encoding',
      'an answer that is no HTTP',
      'an endpoint that ends the connection in the midst of a head',
    ],
  },
  {
    because: 'bytes after an answer, and a length of one that has no body, are left out',
    in: ['answer'],
    of: ['an answer with more bytes than the length', 'an answer of 204 with a length of 0'],
  },
  {
    because: 'of several interim answers the first passes',
    in: ['answer'],
    of: ['two interim answers'],
  },
  {
    because: "the client's connection is Envoy's: it stays open when the endpoint's ends",
    in: ['end'],
    of: [
      'an answer that ends with its connection',
      'an answer that ends with its connection, in two writes',
      'an answer with Connection: close and a length',
      'an answer with a length, and the connection ends',
      'an endpoint that ends its idle connection',
    ],
  },
  {
    because: "a reset in the midst of an answer is the end of the client's connection, before the answer is whole",
    in: ['end'],
    of: [
      'an answer with a length that a reset stops in the middle',
      'an answer in chunks that a reset stops in the middle',
    ],
  },
  {
    because: 'Envoy takes the end by reset for the end of an answer without length',
    in: ['answer', 'end'],
    of: ['an answer without length that a reset stops'],
  },
  {
    because: 'Envoy sends a request when its head is whole, and not after its client has gone',
    in: ['count', 'requests'],
    of: ['a request of which half comes', 'half-close: FIN after half a body', 'half-close: FIN after half the chunks'],
  },
  {
    because: 'the client gets 503 for an answer that never comes',
    in: ['answer', 'end'],
    of: [
      'an endpoint that ends the connection before a request',
      'an endpoint that ends the connection without an answer',
      'an endpoint that resets the connection without an answer',
      'an endpoint that resets a POST',
      'an endpoint that ends the connection of a POST',
      'a GET that the only endpoint resets',
      'a HEAD that the only endpoint resets',
      'a OPTIONS that the only endpoint resets',
      'a PUT that the only endpoint resets',
      'a DELETE that the only endpoint resets',
      'a TRACE that the only endpoint resets',
      'a POST that the only endpoint resets',
      'a PATCH that the only endpoint resets',
      'a LIST that the only endpoint resets',
    ],
  },
  {
    because: 'endpoints do not hear of an offer of TLS or h2c, and so grant none',
    in: ['answer', 'count', 'requests'],
    of: [
      'an upgrade to h2c and bytes both ways',
      'an upgrade to TLS/1.2 and bytes both ways',
      'a body beside an upgrade to TLS/1.2 that is granted',
      'a body beside an upgrade to h2c that is granted',
    ],
  },
  {
    because: 'endpoints do not hear of an offer of TLS or h2c, and so grant none',
    in: ['requests'],
    of: [
      'an upgrade to h2c that the endpoint takes no notice of',
      'an upgrade to TLS/1.2 that the endpoint takes no notice of',
      'a body with a length beside an offer of TLS/1.2',
      'chunks beside an offer of TLS/1.2',
      'a body with a length beside an offer of h2c',
      'chunks beside an offer of h2c',
      'an offer of h2c with settings, and the next request',
      'an offer of TLS, and the next request',
    ],
  },
  {
    because: 'a WebSocket handshake has no body, and an answer of 200 to it none either',
    in: ['answer', 'end'],
    of: [
      'an upgrade to websocket that the endpoint takes no notice of',
      'an upgrade to WebSocket that the endpoint takes no notice of',
    ],
  },
  {
    because: 'a connection whose offer to upgrade is not taken up ends after the answer',
    in: ['end'],
    of: [
      'a body with a length beside an offer of websocket',
      'chunks beside an offer of websocket',
      'an upgrade that is refused with 403',
    ],
  },
  {
    because: 'of a request that is cut short nothing reaches an endpoint where its client has ended its side',
    in: ['count', 'requests'],
    of: ['a FIN of the client in the midst of a body'],
  },
]
