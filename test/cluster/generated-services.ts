/**
 * Services of every kind with EndpointSlices written by hand, so that endpoints may be in any condition and no pod has to
 * run. The same seed gives the same objects.
 */

import type { ApiServerProcess } from './apiserver.ts'

type Random = (below: number) => number

interface Names {
  readonly node: string
  readonly zone: string
}

const namespaces = ['shop', 'bank']

/** Makes so many, in namespaces of their own, and returns their paths. */
export async function generateServices(
  api: ApiServerProcess,
  count: number,
  here: Names,
  seed = 1,
): Promise<readonly string[]> {
  const random = seeded(seed)
  await api.makeNamespaces(Object.fromEntries(namespaces.map(name => [name, {}])))
  const paths: string[] = []
  for (let index = 0; index < count; index++) {
    const namespace = namespaces[index % namespaces.length]!
    const path = `/api/v1/namespaces/${namespace}/services`
    const service = aService(index, random)
    await api.must('POST', path, service)
    paths.push(`${path}/${service.metadata.name}`)
    if (service.spec.type === 'LoadBalancer') {
      const status = { loadBalancer: { ingress: ingress(index, random) } }
      await api.must('PATCH', `${paths.at(-1)}/status`, { status })
    }
    for (const slice of slices(index, service, here, random)) {
      await api.must('POST', `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, slice)
    }
  }
  return paths
}

type GeneratedService = ReturnType<typeof aService>

function aService(index: number, random: Random) {
  const kind = pick(random, kinds)
  const isHeadless = kind === 'headless'
  const type = isHeadless ? 'ClusterIP' : kind
  const hasVip = !isHeadless && kind !== 'ExternalName'
  const hasOutside = kind === 'NodePort' || kind === 'LoadBalancer'
  const externalIPs = hasVip && chance(random, 25) ? externalAddresses(index) : undefined
  const labels: Record<string, string> = {}
  if (chance(random, 4)) labels['service.kubernetes.io/service-proxy-name'] = pick(random, ['other', 'lightpath.cloud'])
  if (isHeadless) labels['service.kubernetes.io/headless'] = ''
  return {
    metadata: { name: `service-${index}`, labels },
    spec: {
      type,
      ports: ports(random),
      ...(kind === 'ExternalName' ? { externalName: 'example.org' } : families(random)),
      ...(isHeadless && { clusterIP: 'None' }),
      ...(externalIPs && { externalIPs }),
      ...(hasVip && chance(random, 25) && affinity(random)),
      ...(hasVip && chance(random, 30) && { internalTrafficPolicy: 'Local' }),
      ...((hasOutside || externalIPs) && chance(random, 50) && { externalTrafficPolicy: 'Local' }),
      ...(hasVip && chance(random, 30) && { trafficDistribution: pick(random, distributions) }),
      ...(chance(random, 10) && { publishNotReadyAddresses: true }),
      ...(kind === 'LoadBalancer' && {
        ...(chance(random, 60) && { loadBalancerSourceRanges: sourceRanges(random) }),
        ...(chance(random, 30) && { allocateLoadBalancerNodePorts: false }),
      }),
    },
  }
}

const kinds = [
  ...['ClusterIP', 'ClusterIP', 'ClusterIP', 'NodePort', 'NodePort', 'LoadBalancer', 'LoadBalancer', 'LoadBalancer'],
  ...['headless', 'ExternalName'],
]
const distributions = ['PreferClose', 'PreferSameZone', 'PreferSameNode']

function families(random: Random) {
  const policies = [
    { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] },
    { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] },
    { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] },
    { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6', 'IPv4'] },
  ]
  return pick(random, policies)
}

/** Of one unnamed port, or of several: some with the same number for two protocols. */
function ports(random: Random) {
  const protocols = ['TCP', 'UDP', 'SCTP']
  if (chance(random, 30)) return [{ name: '', port: 80, targetPort: 8080, protocol: pick(random, protocols) }]
  const all = [
    { name: 'http', port: 80, targetPort: 'named', protocol: 'TCP', appProtocol: 'http' },
    { name: 'dns', port: 53, targetPort: 5353, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, targetPort: 5353, protocol: 'TCP' },
    { name: 'signal', port: 3868, targetPort: 3868, protocol: 'SCTP' },
  ]
  const some = all.filter(() => chance(random, 55))
  return some.length > 0 ? some : all
}

function externalAddresses(index: number): readonly string[] {
  return [`198.18.${index >> 8}.${index & 255}`, `2001:db8:1::${(index + 1).toString(16)}`]
}

function affinity(random: Random) {
  const timeoutSeconds = pick(random, [1, 90, 10_800, 86_400])
  return { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds } } }
}

/** Overlapping, touching, with host bits, of one family only, of the node itself, of everybody. */
function sourceRanges(random: Random): readonly string[] {
  return pick(random, [
    ['203.0.113.0/24', '2001:db8:2::/64'],
    ['10.0.0.0/8', '10.1.0.0/16', '192.168.0.0/24', '192.168.1.0/24'],
    ['172.30.0.0/24', 'fd00:30::/64'],
    ['203.0.113.7/32', ' 203.0.113.9/32'],
    ['203.0.113.0/24', '0.0.0.0/0'],
    ['::/0', '203.0.113.0/25', '203.0.113.128/25'],
  ])
}

function ingress(index: number, random: Random) {
  const ips = [`198.19.${index >> 8}.${index & 255}`, `2001:db8:3::${(index + 1).toString(16)}`]
  const mode = pick(random, ['VIP', 'VIP', undefined, undefined, 'Proxy'])
  const addresses = ips.map(ip => ({ ip, ...(mode && { ipMode: mode }) }))
  return chance(random, 15) ? [...addresses, { hostname: 'balancer.example.org' }] : addresses
}

/** None for one in ten; else some slices of each family, also of a family that the Service does not have. */
function slices(index: number, service: GeneratedService, here: Names, random: Random) {
  if (chance(random, 10) || service.spec.type === 'ExternalName') return []
  // Hints count only where every endpoint has them.
  const hints = pick(random, ['none', 'none', 'zones', 'nodes', 'both', 'some'] as const)
  const away = chance(random, 20)
  return (['IPv4', 'IPv6'] as const).flatMap(addressType => {
    const subnet = { family: addressType, number: 1 + (index % 20), used: new Set<string>() }
    return Array.from({ length: random(3) }, (_, number) => ({
      metadata: {
        name: `${service.metadata.name}-${addressType.toLowerCase()}-${number}`,
        labels: { 'kubernetes.io/service-name': service.metadata.name },
      },
      addressType,
      ports: service.spec.ports
        .filter(() => chance(random, 90))
        .map(({ name, port, protocol }) => ({ name, protocol, port: port + 8000 + number * random(2) })),
      endpoints: endpoints(subnet, { here, hints, away }, random),
    }))
  })
}

interface EndpointWishes {
  readonly here: Names
  readonly hints: 'none' | 'zones' | 'nodes' | 'both' | 'some'
  /** None on the node itself. */
  readonly away: boolean
}

function endpoints(place: Subnet, { here, hints, away }: EndpointWishes, random: Random) {
  const places = [
    ...(away ? [] : [{ nodeName: here.node, zone: here.zone }]),
    { nodeName: 'node2', zone: here.zone },
    { nodeName: 'node3', zone: 'zone-2' },
    { zone: 'zone-2' },
  ]
  const many = chance(random, 5) ? 60 : 5
  return Array.from({ length: random(many) }, () => {
    const state = pick(random, conditions)
    const isHinted = hints !== 'none' && (hints !== 'some' || chance(random, 70))
    return {
      addresses: [address(place, 'terminating' in state && state.terminating === true, random(many))],
      conditions: state,
      ...pick(random, places),
      ...(isHinted && {
        hints: {
          ...(hints !== 'nodes' && { forZones: [{ name: pick(random, [here.zone, here.zone, 'zone-2']) }] }),
          ...((hints === 'nodes' || hints === 'both') && { forNodes: [{ name: pick(random, [here.node, 'node2']) }] }),
        },
      }),
    }
  })
}

interface Subnet {
  readonly family: 'IPv4' | 'IPv6'
  /** Shared with other Services. */
  readonly number: number
  /** Addresses that the Service has, apart for endpoints that terminate and for others. */
  readonly used: Set<string>
}

/**
 * One that the Service may have at most twice: for a pod that terminates and for another that got its address. Which of
 * two others counts is for kube-proxy a matter of chance.
 */
function address({ family, number, used }: Subnet, terminating: boolean, start: number): string {
  let host = start + 2
  while (used.has(`${host} ${terminating}`)) host++
  used.add(`${host} ${terminating}`)
  return family === 'IPv4' ? `10.244.${number}.${host}` : `fd00:244:${number}::${host.toString(16)}`
}

const ready = { ready: true, serving: true, terminating: false }
const conditions = [
  ...[ready, ready, ready, {}, { ready: true }],
  { ready: false, serving: false, terminating: false },
  { ready: false, serving: true, terminating: true },
  { ready: false, serving: true, terminating: true },
  { ready: false, serving: false, terminating: true },
  { ready: false, terminating: true },
  { ready: true, serving: true, terminating: true },
  { ready: false },
]

function pick<T>(random: Random, values: readonly T[]): T {
  return values[random(values.length)]!
}

function chance(random: Random, percent: number): boolean {
  return random(100) < percent
}

/** Mulberry32: good enough to mix kinds. */
function seeded(seed: number): Random {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}
