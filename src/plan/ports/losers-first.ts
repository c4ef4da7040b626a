import { externalDestinationsOf } from '../ports/externaldestinations.ts'
import type { PortState } from './port.ts'

interface PortChange {
  readonly before: PortState | undefined
  readonly after: PortState | undefined
}

/** Orders changes such that a port releases an address before another takes it: so it is always one port's alone. */
export function losersFirst<T extends PortChange>(changes: readonly T[]): readonly T[] {
  const [losers, others] = [[] as T[], [] as T[]]
  for (const change of changes) (isLoser(change) ? losers : others).push(change)
  return losers.length === 0 || others.length === 0 ? changes : [...losers, ...others]
}

function isLoser({ before, after }: PortChange): boolean {
  if (!before) return false
  if (after && haveSameAddresses(before, after)) return false
  const kept = new Set(after && addressesOf(after))
  return addressesOf(before).some(address => !kept.has(address))
}

/** Compares without a look at each: states share what is alike in them. */
function haveSameAddresses(a: PortState, b: PortState): boolean {
  const [ofA, ofB] = [a.external, b.external]
  return (
    a.vip === b.vip &&
    a.port.port === b.port.port &&
    ofA?.nodePort === ofB?.nodePort &&
    ofA?.externalIPs === ofB?.externalIPs &&
    ofA?.loadBalancerIPs === ofB?.loadBalancerIPs
  )
}

function addressesOf(state: PortState): readonly string[] {
  return [{ ip: state.vip, port: state.port.port }, ...externalDestinationsOf(state)].map(
    ({ ip, port }) => `${ip} ${port}`,
  )
}
