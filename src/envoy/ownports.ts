/**
 * The ports that each Envoy of a node has for itself. While one follows another both run, and share the port of
 * redirected connections; the second has the next port of each kind here (images/envoy-start).
 */

export interface OwnPorts {
  readonly adminPort: number
  readonly canaryPort: number
}

const adminKey = 'lightpath.cloud/admin-port'
const canaryKey = 'lightpath.cloud/canary-port'

/** How an Envoy's bootstrap tells them, in its Node.metadata. */
export function metadataOfPorts({ adminPort, canaryPort }: OwnPorts): Readonly<Record<string, string>> {
  return { [adminKey]: String(adminPort), [canaryKey]: String(canaryPort) }
}

/** @param first what an Envoy has that does not tell them */
export function portsIn(metadata: ReadonlyMap<string, string>, first: OwnPorts): OwnPorts {
  const read = (key: string, otherwise: number) => Number(metadata.get(key)) || otherwise
  return { adminPort: read(adminKey, first.adminPort), canaryPort: read(canaryKey, first.canaryPort) }
}

/** Where Envoys of this node may be. */
export function placesOf({ adminPort, canaryPort }: OwnPorts): readonly [OwnPorts, OwnPorts] {
  return [
    { adminPort, canaryPort },
    { adminPort: adminPort + 1, canaryPort: canaryPort + 1 },
  ]
}
