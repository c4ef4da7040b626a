/** The routes of the agent's servers. */

import type { Agent } from '../../../node/agent.ts'
import { explain } from '../../../node/report/answers/explain.ts'
import { frontends } from '../../../node/report/answers/frontends.ts'
import { nodeStatus, serviceRows } from '../../../node/report/answers/status.ts'
import { type Answer, json, type Routes, text } from '../../../observe/http.ts'
import type { MetricsPages } from '../../../observe/metrics/pages.ts'
import type { RecentLines } from '../../../observe/recent.ts'
import type { Config } from '../../options.ts'

/** The last lines of log and Events. */
export type Kept = Readonly<Record<'log' | 'events', RecentLines>>

/** The routes for everybody: nothing that names a Service. */
export function publicRoutes(agent: Agent, pages: MetricsPages): Routes {
  return {
    '/metrics': pages.node,
    '/healthz': () => text(200, 'ok'),
    '/readyz': () => (agent.isSynced ? text(200, 'ok') : text(503, 'the source has not told all Services yet')),
  }
}

/** The routes that kube-proxy has on its port 10249. */
export function kubeProxyRoutes({ proxyMode }: Config, pages: MetricsPages): Routes {
  return { '/metrics': pages.node, '/healthz': () => plain('ok'), '/proxyMode': () => plain(proxyMode) }
}

/** The routes for the command line, on the agent's socket. */
export function privateRoutes(agent: Agent, config: Config, pages: MetricsPages, kept: Kept): Routes {
  return {
    '/log': () => plain(kept.log.text()),
    '/events': () => plain(kept.events.text()),
    '/explain': async query => {
      const service = query.get('service') ?? ''
      const [namespace = '', name = ''] = service.split('/')
      const explanation = await explain(agent, config.nodeName, namespace, name)
      return explanation ? json(200, explanation) : text(404, unknownService(agent, service, name))
    },
    '/config': () => json(200, config),
    '/states': () => json(200, [...agent.plan.states()]),
    '/metrics': pages.all,
    '/status': () => json(200, nodeStatus(agent, config.nodeName)),
    '/frontends': query => json(200, frontends(agent, query.get('namespace') ?? undefined)),
    '/services': query => json(200, serviceRows(agent, query.get('namespace') ?? undefined)),
  }
}

function unknownService(agent: Agent, service: string, name: string): string {
  const similar = agent.facts.services
    .names()
    .filter(known => known.endsWith(`/${name}`) || (name !== '' && known.includes(name)))
  const hint = similar.length > 0 ? `did you mean ${similar.slice(0, 5).join(' or ')}?` : 'is it in the source?'
  return `there is no Service ${service}; ${hint}`
}

/** A text without a newline at its end. */
function plain(body: string): Answer {
  return { ...text(200, ''), body }
}
