/** The order of endpoints: by address, as text, and port. */

import type { Endpoint } from '../ports/port.ts'

type Place = Pick<Endpoint, 'ip' | 'port'>

export function compareEndpoints(a: Place, b: Place): number {
  return compareText(a.ip, b.ip) || a.port - b.port
}

export function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
