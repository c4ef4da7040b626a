/** Serves kube-proxy's `/healthz` and `/livez`, by which load balancers and the kubelet judge a node (KEP-3836). */

import type { Answer } from '../../observe/http.ts'
import type { SyncHealth } from './synchealth.ts'

interface HealthRoutesOptions {
  readonly health: SyncHealth
  readonly isNodeEligible: () => boolean
  readonly answered: (page: 'healthz' | 'livez', status: number) => void
}

/**
 * Both answer 503 while the kernel does not follow. `/healthz` does so, too, for a node that is being removed, so that
 * load balancers drain it beforehand; nobody restarts a working proxy because of that.
 */
export function healthRoutes({ health, isNodeEligible, answered }: HealthRoutesOptions) {
  const counted = (page: 'healthz' | 'livez', answer: Answer) => {
    answered(page, answer.status)
    return answer
  }
  return {
    '/healthz': () => counted('healthz', healthPage(health, isNodeEligible())),
    '/livez': () => counted('livez', healthPage(health, undefined)),
  }
}

/** Go's zero time, for what never happened. */
const never = '0001-01-01T00:00:00Z'

/** `lastUpdated` is the present while all is well, as when kube-proxy wrote its rules every 30 s. */
function healthPage(health: SyncHealth, nodeEligible: boolean | undefined): Answer {
  const now = performance.now()
  const currentTime = new Date()
  const healthy = health.isHealthy(now)
  const isGood = healthy && nodeEligible !== false
  const timeOf = (at: number | undefined) =>
    at === undefined ? never : new Date(currentTime.getTime() - (now - at)).toISOString()
  const { lastSynced } = health
  const status = Object.fromEntries(
    [...health.status(now)].map(([family, { lastSynced: at, healthy }]) => [
      family,
      { lastUpdated: timeOf(at), healthy },
    ]),
  )
  return {
    status: isGood ? 200 : 503,
    contentType: 'application/json',
    headers: { 'x-content-type-options': 'nosniff' },
    body: JSON.stringify({
      lastUpdated: isGood ? currentTime : timeOf(lastSynced),
      currentTime,
      nodeEligible,
      healthy,
      ...(lastSynced !== undefined && { status }),
    }),
  }
}
