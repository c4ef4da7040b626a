/** Serves the page with the series of Services to those who may read it (bearers.ts). */

import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, type Route, text } from '../http.ts'
import type { MetricsPages } from '../metrics/pages.ts'
import type { Bearers } from './bearers.ts'

/** Whose bearers may read the series of Services. */
export const metricsAccess = { path: '/metrics' } as const

/** How long a refused client waits, so that trying tokens costs the API server little. */
const refusedMs = 1000

export function authorizedMetrics(pages: MetricsPages, bearers: Bearers): Route {
  return async (_query, { headers, socket }) => {
    const token = /^Bearer ([^\s]+)$/i.exec(headers.authorization ?? '')?.[1]
    if (token === undefined) return unauthenticated('send a bearer token; port 9000 has what needs none')
    const verdict = await bearers.verdict(token, socket.remoteAddress ?? '')
    if (verdict.kind === 'allowed') return pages.all()
    // A scrape that worked before goes on while the API server is away.
    if (verdict.kind === 'unknown') return pages.node()
    if (verdict.kind === 'busy') return text(503, 'too many tokens are being looked at')
    await delay(refusedMs)
    return verdict.kind === 'forbidden'
      ? text(403, `${verdict.user} may not get the nonResourceURL /metrics`)
      : unauthenticated('the API server does not know this token')
  }
}

function unauthenticated(why: string): Answer {
  return { ...text(401, why), headers: { 'www-authenticate': 'Bearer' } }
}
