/** The agent's HTTP servers. One whose port or socket is taken is a problem (LP501) and is tried again. */

import { statsTexts } from '../../../envoy/program/admin.ts'
import type { Agent } from '../../../node/agent.ts'
import { healthRoutes } from '../../../node/health/healthz.ts'
import { type Retried, startRetrying } from '../../../node/tasks/retry.ts'
import { Bearers } from '../../../observe/access/bearers.ts'
import { authorizedMetrics, metricsAccess } from '../../../observe/access/route.ts'
import { type HttpServer, serveTcp, serveUnix } from '../../../observe/http.ts'
import type { Log } from '../../../observe/log.ts'
import { type MetricsPages, metricsPages } from '../../../observe/metrics/pages.ts'
import { problem } from '../../../services/problem.ts'
import { everyAddress } from '../../families.ts'
import type { Config } from '../../options.ts'
import { type Kept, kubeProxyRoutes, privateRoutes, publicRoutes } from './routes.ts'

const retryMs = 5000
const hour = 3600e3
/** The certificate is made anew at each start, since nobody verifies it. */
const certificateMs = 10 * 365 * 24 * hour

export function startServers(agent: Agent, config: Config, log: Log, kept: Kept): readonly Retried<HttpServer>[] {
  const pages = metricsPages({
    node: agent.metrics.registry,
    services: agent.metrics.services,
    envoy: () => statsTexts(agent.adminSockets),
  })
  const start = (name: string, serve: () => Promise<HttpServer>) => startServer(agent, name, serve)
  const { metricsPort: port, servicesMetricsPort, metricsBindAddress, socket } = config
  const address = config.metricsAddress ?? everyAddress(config)
  const health = healthAddress(config)
  const routes = {
    health: healthRoutes({
      health: agent.health,
      isNodeEligible: () => isNodeEligible(agent, config),
      answered: agent.kubeProxyMetrics.answered,
    }),
    public: publicRoutes(agent, pages),
    kubeProxy: kubeProxyRoutes(config, pages),
    private: privateRoutes(agent, config, pages, kept),
  }
  return [
    start(`metrics on port ${port}`, () => serveTcp(routes.public, { address, port }, log)),
    start(`metrics on port ${servicesMetricsPort}`, () => serveServices(pages, config, address, log)),
    ...(health === 'none' ? [] : [start(`healthz on port ${health.port}`, () => serveTcp(routes.health, health, log))]),
    ...(metricsBindAddress === 'none'
      ? []
      : [
          start(`metrics on port ${metricsBindAddress.port}`, () =>
            serveTcp(routes.kubeProxy, metricsBindAddress, log),
          ),
        ]),
    start(`socket ${socket}`, () => serveUnix(routes.private, socket, log)),
  ]
}

export function healthAddress(config: Config): Config['metricsBindAddress'] {
  const usual = config.services === 'labelled' ? 'none' : { address: everyAddress(config), port: 10256 }
  return config.healthzBindAddress ?? usual
}

/**
 * With the API, serves everybody whom it knows and lets; with a directory nobody can be asked, so only processes of
 * this node.
 */
async function serveServices(pages: MetricsPages, config: Config, address: string, log: Log): Promise<HttpServer> {
  const { source, kubeconfig, nodeName, servicesMetricsPort: port } = config
  if (source !== undefined) return serveTcp({ '/metrics': pages.all }, { address: '127.0.0.1', port }, log)
  const [{ kubernetesApi }, { makeServerCertificate }] = await Promise.all([
    import('../../../cluster/api.ts'),
    import('../../../certificates/certificate.ts'),
  ])
  const ask = kubernetesApi(kubeconfig)
  const bearers = new Bearers((path, object) => ask('POST', path, object), metricsAccess)
  const [from, to] = [new Date(Date.now() - hour), new Date(Date.now() + certificateMs)]
  const tls = makeServerCertificate([nodeName], from, to)
  return serveTcp({ '/metrics': authorizedMetrics(pages, bearers) }, { address, port, tls }, log)
}

function startServer(agent: Agent, name: string, start: () => Promise<HttpServer>): Retried<HttpServer> {
  return startRetrying({
    start,
    everyMs: retryMs,
    problem: error =>
      problem('LP501', name, error.message, 'all else works; stop that process or choose another, it is tried again'),
    onProblems: problems => agent.problems.set(name, problems),
  })
}

/** The API confirms of every node that it exists; a directory of manifests need not mention it. */
function isNodeEligible({ plan, isSynced }: Agent, { source }: Config): boolean {
  if (plan.node) return !plan.node.leaving
  return source !== undefined || !isSynced
}
