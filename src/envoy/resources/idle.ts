/**
 * Sets when Envoy closes an idle HTTP connection. After `idle_timeout` it tells HTTP/2 clients that the connection
 * ends, and closes it `drain_timeout` later (5 s by default), so that no request is lost that was on its way. Both
 * together are the configured time.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
 */

import { duration } from '../encoding.ts'

/** Envoy's default, and the most. */
const longestNoticeMs = 5000

/** Fields of a connection manager that closes idle connections after so many milliseconds. */
export function idleAfter(ms: number) {
  const noticeMs = Math.min(longestNoticeMs, Math.floor(ms / 5))
  return { idleTimeout: duration(ms - noticeMs), drainTimeout: duration(noticeMs) } as const
}
