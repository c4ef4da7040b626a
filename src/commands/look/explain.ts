import { externalId } from '../../envoy/resources/frontend.ts'
import { hostPort } from '../../net/address.ts'
import type { EnvoyView } from '../../node/envoy/view.ts'
import type { Explanation } from '../../node/report/answers/explain.ts'
import type { EndpointSpeed } from '../../node/report/answers/latencies.ts'
import type { PortExplanation } from '../../plan/explain.ts'
import { askLivingAgent } from '../agent.ts'
import type { Config } from '../options.ts'
import { pathText } from '../output/path.ts'
import { type Output, print } from '../output/print.ts'
import { paint, table, wrap } from '../output/table.ts'
import { UsageError } from '../usage.ts'

/** How many lines of the kernel's state are shown; the rest is counted. */
const maxLines = 12
/** How many redirect-exempt pods are shown. */
const maxClients = 5

export async function explain(config: Config, service: string, output: Output): Promise<void> {
  if (!/^[^/]+\/[^/]+$/.test(service)) throw new UsageError(`${JSON.stringify(service)} is not namespace/name`)
  const explanation = await askLivingAgent<Explanation>(
    config.socket,
    `/explain?service=${encodeURIComponent(service)}`,
  )
  print(output, explanation, render)
}

export function render(explanation: Explanation): string {
  const { service, node, problems, envoy } = explanation
  const envoyText = envoy.up ? `Envoy ${envoy.versions.join(', ')} is up` : 'Envoy is down or not connected'
  const head = [
    `${paint('bold', `Service ${service.namespace}/${service.name}`)} on node ${node} (${envoyText})`,
    // This comes first: it ends the search.
    ...(service.ignored === undefined ? [] : [`  Lightpath does not serve it: ${service.ignored}`]),
    ...(service.ignored === undefined && service.optedOut !== undefined
      ? [`  Not for Envoy: ${service.optedOut}. The kernel layer serves all of it`]
      : []),
    `  ${service.type}, cluster IP ${service.clusterIPs.join(', ') || 'none'}, session affinity ${service.sessionAffinity}, internal traffic policy ${service.internalTrafficPolicy}`,
    ...service.healthChecks.map(
      ({ family, port, localEndpoints }) =>
        `  load balancers ask this node at port ${port} (${family}): ${localEndpoints} ready endpoints here`,
    ),
  ]
  const complaints = problems.map(({ code, reason, remedy }) => `  ${paint('yellow', code)} ${reason}; ${remedy}`)
  const sections = [
    head.join('\n'),
    ...(complaints.length > 0 ? [`${paint('bold', 'Problems')}\n${complaints.join('\n')}`] : []),
    ...service.ports.map(port => renderPort(port, explanation)),
  ]
  return `${sections.join('\n\n')}\n`
}

function renderPort(port: PortExplanation, explanation: Explanation): string {
  const title = `Port ${port.name}: ${port.vip} ${port.port}/${port.protocol}`
  return [
    paint('bold', title),
    `  layer: ${layerText(port.id, port.layer, explanation)}`,
    ...(explanation.envoyPorts[port.id]?.up
      ? [`  peer: ${peerText[explanation.clientAddress.mode]} (${explanation.clientAddress.why})`]
      : []),
    ...renderExternal(port, explanation),
    ...renderBelow(port, explanation),
    ...renderPath(port, explanation),
    ...renderRedirectExemptPods(port, explanation),
    ...renderSettings(port),
    ...renderEndpoints(port, explanation),
    ...renderEnvoy(port, explanation),
    ...renderEnvoyFromOutside(port, explanation),
    ...renderKernel(port, explanation),
  ].join('\n')
}

function layerText(id: string, layer: PortExplanation['layer'], { envoyPorts, overlayOff }: Explanation): string {
  const view = envoyPorts[id]
  if (layer.wants === 'kernel') {
    const draining = view?.draining ? '; its connections in Envoy are being drained' : ''
    if (layer.waitsAs !== undefined)
      return `kernel for now; waits for Envoy as ${layer.waitsAs}: ${layer.reason}${draining}`
    return `kernel (${layer.reason})${draining}`
  }
  if (view?.up && overlayOff)
    return `kernel, since the overlay of this node is switched off (LP408); meant for Envoy as ${layer.protocol} (${layer.reason})`
  return view?.up
    ? `Envoy, as ${layer.protocol} (${layer.reason})`
    : `kernel for now; meant for Envoy as ${layer.protocol} (${layer.reason})`
}

const peerText = {
  preserve: "endpoints see the client's address",
  'forwarded-for': "endpoints see the node's address, and with HTTP the client's in X-Forwarded-For",
} as const

function renderExternal({ id, external }: PortExplanation, explanation: Explanation): string[] {
  if (!external) return []
  const { nodePort, externalIPs, loadBalancerIPs, sourceRanges, policy, endpoints, clusterEndpoints, layer } = external
  const only = sourceRanges.length === 0 ? '' : ` (from ${sourceRanges.join(' ')} only)`
  const frontends = [
    ...(nodePort === undefined ? [] : [`node port ${nodePort}`]),
    ...externalIPs.map(ip => `external IP ${ip}`),
    ...loadBalancerIPs.map(ip => `load-balancer IP ${ip}${only}`),
  ]
  const isUp = explanation.envoyPorts[externalId(id)]?.up ?? false
  const outsiders =
    policy === 'Cluster'
      ? `all ${endpoints.length} endpoints, which see the node's address${isUp ? ", and the client's in X-Forwarded-For" : ''}`
      : `${endpoints.length} of ${clusterEndpoints.length} endpoints, those here, which see the client's address`
  return [
    ...wrap('  from outside: ', frontends),
    `  layer of what comes from outside: ${explanation.servesExternal ? layerText(externalId(id), layer, explanation) : `not served: ${explanation.proxyMode} has cluster IPs only`}`,
    `  external traffic policy ${policy}: ${outsiders}`,
  ]
}

function renderBelow({ id }: PortExplanation, { connectionsBelow }: Explanation): string[] {
  const count = connectionsBelow[id]
  return count === undefined
    ? []
    : [`  connections that began in the kernel layer and stay there: ${count} (setting rebalance: true ends such)`]
}

/** Says, for ports that are meant for Envoy, whether connections of pods can get there. */
function renderPath({ family, layer }: PortExplanation, { paths }: Explanation): string[] {
  const path = paths[family]
  return layer.wants === 'envoy' && path ? [`  path of pods to Envoy: ${pathText(path)}`] : []
}

function renderRedirectExemptPods({ layer }: PortExplanation, { redirectExemptPods }: Explanation): string[] {
  if (layer.wants !== 'envoy' || redirectExemptPods.length === 0) return []
  const pods = redirectExemptPods.map(({ pod, reason }) => `${pod} (${reason})`)
  const more = pods.length > maxClients ? [`${pods.length - maxClients} more`] : []
  return wrap('  not for pods of this node: ', [...pods.slice(0, maxClients), ...more])
}

function renderSettings({ settings }: PortExplanation): string[] {
  if (settings.length === 0) return []
  const own = settings.filter(({ from }) => from !== 'default')
  const others = settings.filter(({ from }) => from === 'default').map(({ name, value }) => `${name} ${value}`)
  const rows = own.map(({ name, value, from }) => [name, value, from])
  return [
    ...(rows.length > 0 ? [table(['SETTING', 'VALUE', 'FROM'], rows, '  ')] : []),
    ...wrap('  defaults: ', others),
  ]
}

function renderEndpoints({ id, endpoints }: PortExplanation, { health, speeds, envoyPorts }: Explanation): string[] {
  if (endpoints.length === 0) return ['  endpoints: none']
  const isKnown = Object.keys(speeds[id] ?? {}).length > 0
  const rows = endpoints.map(({ address, port, node, zone, notUsed, excluded, barred }) => {
    const there = health[id]?.[hostPort(address, port)]
    const state = there === undefined ? '' : there.ejected ? 'ejected' : there.healthy ? 'healthy' : 'unhealthy'
    const envoy = barred === undefined ? state : `no: ${barred}`
    const speed = isKnown ? speedCells(speeds[id]?.[hostPort(address, port)]) : []
    return [
      `${address}:${port}`,
      node ?? '',
      zone ?? '',
      notUsed === undefined ? usedText(excluded) : `no: ${notUsed}`,
      envoy,
      ...speed,
    ]
  })
  const used = endpoints.filter(({ notUsed, barred }) => notUsed === undefined && barred === undefined).length
  const inEnvoy = envoyPorts[id]?.endpoints ?? used
  return [
    table(
      ['ENDPOINT', 'NODE', 'ZONE', 'USED', 'IN ENVOY', ...(isKnown ? ['ANSWERS IN', 'FAILING', 'SHARE'] : [])],
      rows,
      '  ',
    ),
    ...(inEnvoy < used
      ? [`  Envoy of this node has ${inEnvoy} of ${used} endpoints (--envoy-endpoints-per-port)`]
      : []),
  ]
}

function usedText(excluded: string | undefined): string {
  return excluded === undefined ? 'yes' : `yes, since no more may be left out (--max-excluded): ${excluded}`
}

function speedCells(speed: EndpointSpeed | undefined): readonly string[] {
  if (!speed) return ['', '', '']
  const percent = (share: number | undefined) => (share === undefined ? '' : `${Math.round(100 * share)} %`)
  return [
    speed.ms === undefined ? '' : `${Number(speed.ms.toPrecision(2))} ms`,
    percent(speed.failing),
    percent(speed.share),
  ]
}

const whyInstead = {
  protocol: 'PEAK_EWMA is for http and grpc',
  module: 'an Envoy of this node lacks the module for PEAK_EWMA (LP307)',
} as const

function policyText({ policy, instead }: EnvoyView['lbPolicy']): string {
  return instead === undefined ? policy : `${policy}: ${whyInstead[instead]}`
}

const sharing: Readonly<Record<EnvoyView['connections'], readonly string[]>> = {
  fresh: [],
  watched: ['  POSTs have connections of their own; whether endpoints let idle ones live is being watched'],
  lasting: ['  POSTs of clients that keep their connections share open ones: endpoints let idle ones live'],
}

function renderEnvoy({ id, settings }: PortExplanation, { envoyPorts }: Explanation): string[] {
  const view = envoyPorts[id]
  if (!view) return ['  Envoy: was told nothing']
  const isDefault = settings.some(({ name, from }) => name === 'reuse-connections' && from === 'default')
  const { endConnections, connections } = view
  return [
    `  an endpoint is chosen by ${policyText(view.lbPolicy)}`,
    ...(endConnections && isDefault
      ? ['  reuse-connections is never for an hour: an endpoint ended a connection that a request was on']
      : []),
    ...(isDefault && !endConnections ? sharing[connections] : []),
    ...renderResources(view, 'ENVOY RESOURCE'),
  ]
}

function renderEnvoyFromOutside({ id }: PortExplanation, { envoyPorts }: Explanation): string[] {
  const view = envoyPorts[externalId(id)]
  return view ? renderResources(view, 'EXTERNAL') : []
}

function renderResources(view: EnvoyView, title: string): string[] {
  const rows = view.resources.map(({ type, name, version, status, detail }) => [
    type,
    name,
    version,
    detail === undefined ? status : `${status}: ${detail}`,
  ])
  return [table([title, 'NAME', 'VERSION', 'STATUS'], rows, '  ')]
}

function renderKernel({ id }: PortExplanation, { kernelPorts }: Explanation): string[] {
  const view = kernelPorts[id]
  if (!view) return ['  kernel: was told nothing']
  const lines = view.elements
  const more = lines.length - maxLines
  return [
    `  kernel, ${view.confirmed ? 'confirmed' : 'not yet confirmed'}:`,
    ...lines.slice(0, maxLines).map(line => `    ${line}`),
    ...(more > 0 ? [`    and ${more} more`] : []),
  ]
}
