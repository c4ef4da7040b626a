/**
 * The Unix sockets between the agent and the Envoys of its node. They are in one directory, which only root and Envoy's
 * user may enter (node/system/socketdirectory.ts): who is on the node's network alone reaches none of them.
 *
 * A node has one Envoy, and a second while one follows the other. Each is an instance with sockets of its own, by names that the
 * agent knows; an Envoy tells which instance it is, and nothing else about its sockets is believed.
 */

import { join } from 'node:path'

export const instances = [1, 2] as const

/** 2 follows another Envoy (images/envoy-start). */
export type Instance = (typeof instances)[number]

/** A Unix socket, and who may be at its other end. */
export interface UnixAddress {
  readonly path: string
  /** User ids; undefined for anybody who can be there. */
  readonly users?: readonly number[]
}

/** The directory, and whose processes may listen or connect there. */
export interface EnvoySockets {
  readonly directory: string
  readonly users?: readonly number[]
}

/** Where the agent serves xDS. */
export function xdsSocket(directory: string): string {
  return join(directory, 'xds.sock')
}

/** Where an Envoy answers as its admin interface. */
export function adminSocket({ directory, users }: EnvoySockets, instance: Instance): UnixAddress {
  return { path: join(directory, `admin-${instance}.sock`), users }
}

/** Where an Envoy's workers answer, for as long as it is well. */
export function canarySocket({ directory, users }: EnvoySockets, instance: Instance): UnixAddress {
  return { path: join(directory, `canary-${instance}.sock`), users }
}

/** Of all that may be in the directory. */
export function socketPaths(directory: string): readonly string[] {
  const ofEnvoys = instances.flatMap(instance => [
    adminSocket({ directory }, instance),
    canarySocket({ directory }, instance),
  ])
  return [xdsSocket(directory), ...ofEnvoys.map(({ path }) => path)]
}

const instanceKey = 'lightpath.cloud/instance'

/** How an Envoy's bootstrap tells it, in its Node.metadata. */
export function metadataOfInstance(instance: Instance): Readonly<Record<string, string>> {
  return { [instanceKey]: String(instance) }
}

/** Of an Envoy that does not tell it, or makes it up: the first. */
export function instanceIn(metadata: ReadonlyMap<string, string>): Instance {
  return metadata.get(instanceKey) === '2' ? 2 : 1
}
