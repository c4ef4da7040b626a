/** How many connections of clients an Envoy takes, and how it reports that. */

/** An idle one takes 20 kB or more: with more of them than this the heap has long been used up. */
export const mostConnections = 100_000

const connectionsKey = 'lightpath.cloud/connections'

/** An entry of a bootstrap's Node.metadata. */
export function metadataOfConnections(most: number): Readonly<Record<string, string>> {
  // images/envoy-start changes this in the text of the file.
  return { [connectionsKey]: String(most) }
}

export function connectionsIn(metadata: ReadonlyMap<string, string>): number {
  return Number(metadata.get(connectionsKey)) || mostConnections
}
