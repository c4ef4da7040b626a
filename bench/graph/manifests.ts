/** A service graph as manifests of a real cluster: a Deployment for each service, and for each variant Services of its own. */

import { labels, ourProxyName } from '../../src/services/labels.ts'
import { slug, type VariantId, variant } from '../lab/variants.ts'
import { type Graph, serverFlags } from './graph.ts'

export const namespace = 'graph'
export const client = 'client'

/** Beside kube-proxy, in whatever mode it is there: its Services are those without the label. */
export const clusterVariants = [
  'nftables',
  'roundRobin',
  'leastRequest',
  'kernel',
] as const satisfies readonly VariantId[]

const port = 8080
const targetsFile = '/targets/targets.json'

export function graphManifests(graph: Graph, scenario: string, image: string): readonly object[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      ...named('targets'),
      data: { 'targets.json': JSON.stringify(targets(graph)) },
    },
    ...Object.entries(graph.services).map(([name, { replicas = graph.replicas }]) =>
      deployment(name, replicas, image, flagsOf({ targets: targetsFile, ...serverFlags(graph, scenario, name) })),
    ),
    ...clusterVariants.flatMap(id => Object.keys(graph.services).map(name => service(id, name))),
    // It does nothing by itself; loads are run in it.
    deployment(client, 1, image, []),
  ]
}

/** What a client calls. */
export function urlOf(id: VariantId, service: string): string {
  return `http://${serviceName(id, service)}/`
}

function targets({ services }: Graph): object {
  const ofVariant = (id: VariantId) =>
    Object.fromEntries(Object.keys(services).map(name => [name, [`${serviceName(id, name)}:80`]]))
  return Object.fromEntries(clusterVariants.map(id => [id, ofVariant(id)]))
}

/** All are in one namespace. */
function serviceName(id: VariantId, service: string): string {
  return `${slug(id)}-${service}`
}

function named(name: string, more: object = {}) {
  return { metadata: { name, namespace, ...more } }
}

function service(id: VariantId, name: string): object {
  const { proxy, settings = {} } = variant(id)
  const annotations = Object.entries(settings).map(([key, value]) => [`config.lightpath.cloud/http-${key}`, value])
  const labelled = proxy === 'lightpath' ? { [labels.proxyName]: ourProxyName } : {}
  return {
    apiVersion: 'v1',
    kind: 'Service',
    ...named(serviceName(id, name), { labels: labelled, annotations: Object.fromEntries(annotations) }),
    spec: { selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  }
}

function deployment(name: string, replicas: number, image: string, flags: readonly string[]): object {
  const container = {
    name: 'server',
    image,
    imagePullPolicy: 'IfNotPresent',
    args: ['serve', '-name=$(POD_NAME)', ...flags],
    env: [{ name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
    ports: [{ name: 'http', containerPort: port }],
    readinessProbe: { httpGet: { path: '/counters', port: 'http' }, periodSeconds: 1 },
    volumeMounts: [{ name: 'targets', mountPath: '/targets' }],
    resources: { requests: { cpu: '5m', memory: '32Mi' } },
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    ...named(name),
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [container], volumes: [{ name: 'targets', configMap: { name: 'targets' } }] },
      },
    },
  }
}

function flagsOf(flags: Readonly<Record<string, string | number | undefined>>): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`-${name}=${value}`]))
}
