import { networkInterfaces } from 'node:os'
import { canonicalIp } from '../../net/address.ts'

const lookMs = 1000

/** Whether this node has an address, by its interfaces, which are read once a second at most. */
export function lookUpAddresses(): (ip: string) => boolean {
  let addresses: ReadonlySet<string | undefined> = new Set()
  let lookedAt = Number.NEGATIVE_INFINITY
  return ip => {
    const now = performance.now()
    if (now - lookedAt > lookMs) {
      const all = Object.values(networkInterfaces()).flatMap(entries => entries ?? [])
      addresses = new Set(all.map(({ address }) => canonicalIp(address)))
      lookedAt = now
    }
    return addresses.has(ip)
  }
}
