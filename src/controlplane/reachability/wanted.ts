/**
 * Which Pods Kubernetes is to be told of as unreachable. Those with the readiness gate become not ready for everybody by
 * that: so a Service port keeps a share of its endpoints, and the last one. The share is of all that are ready or would be,
 * had nobody been told of them: so what was told makes it no smaller, and no Service is walked down step by step. No I/O and
 * no clock.
 */

import type { Exclusion } from '../../exclusions/exclusion.ts'
import { leftOut } from '../../exclusions/share.ts'
import { ofHostPort } from '../../net/address.ts'
import type { Pod } from '../../services/objects/networkpolicy.ts'
import { podName } from '../../services/podindex.ts'
import { compareText } from '../../text/compare.ts'
import type { Members, ReadyEndpoints } from '../failures/readyendpoints.ts'

export interface Wanted {
  /** `namespace/name` */
  readonly pod: string
  /** Why it is unreachable; undefined where it is reachable. */
  readonly exclusion: Exclusion | undefined
}

export interface Known {
  readonly exclusions: readonly Exclusion[]
  readonly ready: Pick<ReadyEndpoints, 'nodeOf' | 'podAt' | 'podsIn' | 'membersWith'>
  /** Pods, `namespace/name`, that may have been told as unreachable, though no watch has said so yet. */
  readonly maybeTold: ReadonlySet<string>
  /** The largest part of a Service port's endpoints that may be not ready for this, from 0 to 1. */
  readonly share: number
}

/** Returns the Pods whose condition says something else than it should. */
export function wantedChanges({ exclusions, ready, maybeTold, share }: Known): readonly Wanted[] {
  const byNode = new Map(exclusions.flatMap(one => (one.of === 'node' ? [[one.name, one]] : [])))
  const byIp = new Map(exclusions.flatMap(one => (one.of === 'node' ? [] : [[ofHostPort(one.name).ip, one]])))
  const exclusionOf = (ip: string): Exclusion | undefined => {
    const node = ready.nodeOf(ip)
    return (node === undefined ? undefined : byNode.get(node)) ?? byIp.get(ip)
  }
  const isTold = (pod: Pod | undefined) =>
    pod !== undefined && (pod.isUnreachable === true || maybeTold.has(podName(pod)))
  // By Pod, so that of equal ones each Service and family spares the same.
  const nameOf = (ip: string) => {
    const pod = ready.podAt(ip)
    return pod ? podName(pod) : ip
  }
  const inOrder = (ips: readonly string[]) => [...ips].sort((a, b) => compareText(nameOf(a), nameOf(b)))
  const isSpared = sparing(exclusionOf, ip => isTold(ready.podAt(ip)), inOrder, share)
  const wantedOf = (pod: Pod): Exclusion | undefined => {
    const own = pod.addresses.filter(ip => ready.podAt(ip) === pod)
    const places = own.flatMap(ip =>
      ready.membersWith(ip).flatMap(port => (port.ips.includes(ip) ? [{ port, ip }] : [])),
    )
    const stays = places.length === 0 || (pod.gated && places.some(({ port, ip }) => isSpared(port, ip)))
    return stays ? undefined : own.map(exclusionOf).find(one => one !== undefined)
  }
  const onNodes = ready.podsIn(new Set(byNode.keys()))
  const atAddresses = [...byIp.keys()].flatMap(ip => ready.podAt(ip) ?? [])
  return [...new Set([...onNodes, ...atAddresses])].flatMap(pod => {
    const exclusion = wantedOf(pod)
    return isTold(pod) === (exclusion !== undefined) ? [] : { pod: podName(pod), exclusion }
  })
}

/**
 * Says of endpoints of a Service port whether they are excluded, and stay ready since it cannot spare them. Those that were
 * told count until they are ready again, also where they are to be.
 */
function sparing(
  exclusionOf: (ip: string) => Exclusion | undefined,
  isTold: (ip: string) => boolean,
  inOrder: (ips: readonly string[]) => readonly string[],
  share: number,
) {
  const known = new Map<string, ReadonlySet<string>>()
  const outOf = ({ ips, notReady }: Members): ReadonlySet<string> => {
    const excluded = [...leftOut(inOrder(ips), exclusionOf, share).keys()]
    const told = ips.filter(ip => isTold(ip) || notReady.has(ip)).length
    const most = Math.min(Math.floor(ips.length * share), ips.length - 1)
    const fresh = excluded.filter(ip => !isTold(ip)).slice(0, Math.max(0, most - told))
    return new Set([...excluded.filter(isTold), ...fresh])
  }
  return (port: Members, ip: string): boolean => {
    const out = known.get(port.id) ?? outOf(port)
    known.set(port.id, out)
    return exclusionOf(ip) !== undefined && !out.has(ip)
  }
}
