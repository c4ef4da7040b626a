/** The pages of metrics: that of the node, which names no Service, and that with the series of Services. */

import type { Registry } from 'prom-client'
import type { Answer } from '../http.ts'
import { recently } from '../recently.ts'
import { translateEnvoyMetrics } from './envoy-metrics.ts'

export interface MetricsPages {
  /** For whoever asks. */
  readonly node: () => Promise<Answer>
  /** With names and traffic of all tenants' Services. */
  readonly all: () => Promise<Answer>
}

export interface MetricsSources {
  readonly node: Registry
  readonly services: Registry
  /** Envoy's statistics, of each Envoy. */
  readonly envoy: () => Promise<readonly string[]>
}

/** A page is made once a second at most, whoever asks how often. */
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
