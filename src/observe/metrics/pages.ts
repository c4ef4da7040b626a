/** Makes the pages of metrics: that of the node, which names no Service, and that with the series of Services. */

import type { Registry } from 'prom-client'
import type { Answer } from '../http.ts'
import { recently } from '../recently.ts'
import { translateEnvoyMetrics } from './envoy-metrics.ts'

export interface MetricsPages {
  /** The public page. */
  readonly node: () => Promise<Answer>
  /** The page with names and traffic of all tenants' Services. */
  readonly all: () => Promise<Answer>
}

export interface MetricsSources {
  readonly node: Registry
  readonly services: Registry
  /** Reads Envoy's statistics, one text for each Envoy. */
  readonly envoy: () => Promise<readonly string[]>
}

/** Makes a page once a second at most, however often it is asked for. */
const pageMs = 1000

export function metricsPages({ node, services, envoy }: MetricsSources): MetricsPages {
  const page = (parts: readonly string[]): Answer => ({
    status: 200,
    contentType: node.contentType,
    // Bytes, of which all answers share one copy.
    body: Buffer.from(parts.join('')),
  })
  return {
    node: recently(pageMs, async () => page([await node.metrics()])),
    all: recently(pageMs, async () =>
      page([await node.metrics(), await services.metrics(), translateEnvoyMetrics(await envoy())]),
    ),
  }
}
