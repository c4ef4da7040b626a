/** What a control plane answers probes and scrapers, which need no token: nothing here names an object or a node. */

import { type Routes, text } from '../observe/http.ts'
import { recently } from '../observe/recently.ts'
import { controlPlaneMetrics } from './metrics.ts'
import type { ControlPlane } from './server.ts'

/** Makes a page once a second at most, however often it is asked for. */
const pageMs = 1000

export function controlPlaneRoutes(controlPlane: ControlPlane): Routes {
  const registry = controlPlaneMetrics(() => controlPlane.readings())
  return {
    '/metrics': recently(pageMs, async () => ({
      status: 200,
      contentType: registry.contentType,
      body: Buffer.from(await registry.metrics()),
    })),
    '/healthz': () => text(200, 'ok'),
    '/readyz': () => {
      const { isKnown } = controlPlane.knowledge
      if (!isKnown) return text(503, 'not everything is known yet')
      if (!controlPlane.isServing) return text(503, 'what is known is older than --max-staleness')
      const { ageMs = 0 } = controlPlane.readings().freshness
      return text(200, ageMs === 0 ? 'ok' : `ok; the API server said nothing for ${Math.round(ageMs / 1000)} s`)
    },
  }
}
