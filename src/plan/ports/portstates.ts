/** Derives the states of a Service on a node: one for each of its ports, in each family of its VIPs. */

import { hostPort } from '../../net/address.ts'
import type { EndpointSlice } from '../../services/objects/endpointslice.ts'
import { describeKey, keyOf } from '../../services/objects/objects.ts'
import { type Namespace, portLabel, type Service, type ServicePort } from '../../services/objects/service.ts'
import { type Problem, ProblemList, problem } from '../../services/problem.ts'
import { type ServiceSettings, settingsOf } from '../../services/settings/annotations.ts'
import type { Settings } from '../../services/settings/settings.ts'
import type { RememberedCandidates } from '../endpoints/candidates.ts'
import { EndpointChoice, reservedReason } from '../endpoints/choice.ts'
import type { Excluded } from '../endpoints/excluded.ts'
import type { Bar, NodeTopology } from '../endpoints/rules.ts'
import type { Claims } from './claims.ts'
import {
  addressesOf,
  describeAddress,
  type ExternalAddress,
  type ExternalAddresses,
  onlyOwned,
} from './externaladdresses.ts'
import { claimKey, type PortOfFamily } from './families.ts'
import {
  chooseExternalLayer,
  chooseLayer,
  type ExternalObstacles,
  kernel,
  waiting,
  whyKernel,
  whyNotExternal,
} from './layer.ts'
import type { Endpoint, Layer, PortState } from './port.ts'
import { reuse } from './reuse.ts'

/** All that the states depend on beside the Service. */
export interface PortInputs {
  readonly settings: ServiceSettings
  readonly slices: readonly EndpointSlice[]
  readonly topology: NodeTopology
  readonly namespace: Namespace | undefined
  readonly obstacles: ExternalObstacles
  readonly claims: Pick<Claims, 'otherOwner' | 'hasLosses'>
  /** @param isForEnvoy a port is, as far as it does not depend on its endpoints */
  readonly barFor: (isForEnvoy: boolean) => Bar | undefined
  readonly excluded: Excluded
  /** Of each wanted port (`kernelLayersOf`). */
  readonly kernelLayers: readonly (Layer | undefined)[]
  /** How many addresses the Service has in Envoy, of those that it wants (`envoyPlacesOf`). */
  readonly envoyAddresses: number
  /** Why a port that is meant for Envoy speaks nothing that it balances; undefined where it does, as far as is known. */
  readonly whyMisnamed: (id: string, port: ServicePort, settings: Settings) => string | undefined
  /** Why a port that is meant for Envoy waits for room there; undefined where it has it. */
  readonly whyWaiting: (id: string, isAlways: boolean) => string | undefined
  /** Of a Service with many endpoints. */
  readonly remembered: RememberedCandidates | undefined
  /** The states until now: parts that come out the same are kept. */
  readonly before: readonly PortState[]
}

export interface PortStates {
  readonly ports: readonly PortState[]
  readonly problems: readonly Problem[]
}

/**
 * Returns the layer of each of these ports that stays in the kernel layer whatever endpoints it has; undefined for
 * those that are for Envoy.
 *
 * @param takenOver why another proxy takes the Service over, which the kernel layer serves until then
 */
export function kernelLayersOf(
  service: Service,
  wanted: readonly PortOfFamily[],
  settings: ServiceSettings,
  namespace: Namespace | undefined,
  takenOver: string | undefined,
): readonly (Layer | undefined)[] {
  const whyTakenOver = takenOver && `${takenOver}; the kernel goes on until that has it`
  const layers = wanted.map(({ port }) => {
    const why = whyTakenOver ?? whyKernel(service, port, namespace, settingsOf(settings, port))
    return why === undefined ? undefined : kernel(why)
  })
  return layers.length === 1 && layers[0] === undefined ? oneForEnvoy : layers
}

/** Most Services have one port, and share this. */
const oneForEnvoy = [undefined] as const

/**
 * Counts the addresses that a Service wants in Envoy, whatever its endpoints: a port's VIP and each external address
 * (envoy/quota.ts).
 */
export function envoyAddressesOf(
  service: Service,
  wanted: readonly PortOfFamily[],
  { settings: read, namespace, obstacles, kernelLayers }: Omit<PortInputs, 'envoyAddresses'>,
): number {
  let addresses = 0
  for (const [index, { port, external }] of wanted.entries()) {
    if (kernelLayers[index] !== undefined) continue
    addresses += 1 + externalAddressCount(service, port, external, settingsOf(read, port), namespace, obstacles)
  }
  return addresses
}

function externalAddressCount(
  service: Service,
  port: ServicePort,
  external: ExternalAddresses | undefined,
  settings: Settings,
  namespace: Namespace | undefined,
  obstacles: ExternalObstacles,
): number {
  if (!external || !settings.external) return 0
  return whyNotExternal(service, port, namespace, settings, obstacles) === undefined ? addressesOf(external).length : 0
}

/** @param wanted the ports of the Service; one whose VIP another Service owns has no state */
export function portStatesOf(service: Service, wanted: readonly PortOfFamily[], inputs: PortInputs): PortStates {
  const { settings: read, slices, topology, namespace: inNamespace, obstacles, claims, kernelLayers, before } = inputs
  const { namespace, name } = service
  const affinitySeconds = service.sessionAffinity === 'ClientIP' ? service.affinitySeconds : undefined
  const problems = new ProblemList(describeKey(keyOf(service)))
  const reported = new Set<string>()
  const ports: PortState[] = []
  const bar = inputs.barFor(kernelLayers.includes(undefined))
  const choices = new EndpointChoice(service, slices, topology, bar, inputs.excluded, inputs.remembered)
  let left = inputs.envoyAddresses
  const takes = (addresses: number) => {
    const fits = addresses <= left
    if (fits) left -= addresses
    return fits
  }
  let isOver = false
  const knownAt = finderOf(before)
  const hasLosses = claims.hasLosses(`${namespace}/${name}`)
  const whyKernelForExternal = ({ port }: PortOfFamily, settings: Settings, external: ExternalAddresses | undefined) =>
    whyNotExternal(service, port, inNamespace, settings, obstacles) ??
    (takes(external ? addressesOf(external).length : 0) ? undefined : tooManyPorts)
  for (const [index, one] of wanted.entries()) {
    const { id, port, family, vip } = one
    const owner = hasLosses ? claims.otherOwner(claimKey({ ip: vip }, port, family), id) : undefined
    if (owner !== undefined) {
      problems.addMade(() => taken(service, `${hostPort(vip, port.port)}/${port.protocol}`, port, owner))
      continue
    }
    const settings = settingsOf(read, port)
    const known = knownAt(id, index)
    const addresses = hasLosses ? ownedAddresses(service, one, claims, problems) : one.external
    let kernelLayer = kernelLayers[index]
    if (kernelLayer === undefined && !takes(1)) {
      kernelLayer = kernel(tooManyPorts)
      isOver = true
    }
    const spills = settings.spillOver && kernelLayer === undefined
    const {
      endpoints,
      spillOver,
      servingEndpoints,
      leftOut,
      noLocalEndpoints,
      external: chosen,
      reserved,
    } = choices.of(port, family, addresses, known, spills)
    for (const endpoint of reserved) problems.addMade(() => reservedEndpoint(service, port, endpoint))
    const whyNot = settings.external ? whyKernelForExternal(one, settings, addresses) : undefined
    // Both families of a port have the same problem.
    if (whyNot !== undefined && !reported.has(portLabel(port))) {
      problems.addMade(() => notExternal(service, port, read, whyNot))
      reported.add(portLabel(port))
    }
    const chosenLayer = chooseLayer(port, settings, kernelLayer, endpoints)
    const misnamed = chosenLayer.wants === 'envoy' ? inputs.whyMisnamed(id, port, settings) : undefined
    const wish = misnamed === undefined ? chosenLayer : kernel(misnamed)
    const waits = wish.wants === 'envoy' ? inputs.whyWaiting(id, settings.overlay === 'always') : undefined
    const inBudget = (layer: Layer) => (waits === undefined ? layer : waiting(layer, waits))
    const layer = inBudget(wish)
    const external = chosen && { ...chosen, layer: inBudget(chooseExternalLayer(wish, chosen, settings, whyNot)) }
    ports.push(
      reuse(known, {
        id,
        namespace,
        name,
        port,
        family,
        vip,
        settings,
        layer,
        endpoints,
        ...(spillOver && { spillOver }),
        servingEndpoints,
        ...(leftOut && { leftOut }),
        noLocalEndpoints,
        external,
        affinitySeconds,
      }),
    )
  }
  if (isOver) problems.addMade(() => tooMany(service, inputs.envoyAddresses))
  return { ports: ports.slice(), problems: [...read.problems, ...problems.all()] }
}

/** Finds states by id. Mostly each is where it was, so that is tried first. */
export function finderOf(states: readonly PortState[]): (id: string, index: number) => PortState | undefined {
  let byId: ReadonlyMap<string, PortState> | undefined
  return (id, index) => {
    const there = states[index]
    if (there?.id === id) return there
    byId ??= new Map(states.map(state => [state.id, state]))
    return byId.get(id)
  }
}

export function portOf(ports: readonly PortState[] | undefined, id: string): PortState | undefined {
  return ports?.find(port => port.id === id)
}

/** Returns the external addresses that no other Service has; adds a problem for each that one has. */
function ownedAddresses(
  service: Service,
  { id, port, family, external }: PortOfFamily,
  claims: PortInputs['claims'],
  problems: ProblemList,
): ExternalAddresses | undefined {
  if (!external) return undefined
  const ownerOf = (address: ExternalAddress) => claims.otherOwner(claimKey(address, port, family), id)
  for (const address of addressesOf(external)) {
    const owner = ownerOf(address)
    if (owner !== undefined) problems.addMade(() => taken(service, describeAddress(address, port), port, owner))
  }
  return onlyOwned(external, address => ownerOf(address) === undefined)
}

function taken(service: Service, address: string, port: ServicePort, owner: string): Problem {
  const remedy = `port ${portLabel(port)} is not served there until it is free; give one of the two another address or port`
  return problem('LP211', describeKey(keyOf(service)), `${address} belongs to ${owner}`, remedy)
}

function reservedEndpoint(service: Service, port: ServicePort, { ip, port: number }: Endpoint): Problem {
  const remedy = `port ${portLabel(port)} does not lead there; take it out of the EndpointSlice`
  return problem('LP222', describeKey(keyOf(service)), `endpoint ${hostPort(ip, number)}: ${reservedReason}`, remedy)
}

const tooManyPorts = 'Envoy takes no more ports of this Service or its namespace (LP205)'

function tooMany(service: Service, addresses: number): Problem {
  const reason = `Envoy takes ${addresses} of its ports and external addresses, and no more`
  const remedy =
    'the kernel layer serves the others; --envoy-ports-per-service and --envoy-ports-per-namespace are the limits, and older Services come first'
  return problem('LP205', describeKey(keyOf(service)), reason, remedy)
}

function notExternal(service: Service, port: ServicePort, { annotated }: ServiceSettings, reason: string): Problem {
  const annotation = annotated.get(portLabel(port))?.get('external')
  const remedy = 'what comes from outside stays in the kernel layer; remove the annotation, or what it collides with'
  return problem('LP204', describeKey(keyOf(service)), `annotation ${annotation}: ${reason}`, remedy)
}
