/**
 * Names the Unix sockets between the agent and the Envoys of its node. They are in one directory, which only root and
 * Envoy's user may enter (node/system/socketdirectory.ts): a process that is only on the node's network reaches none of
 * them.
 *
 * A node has one Envoy, and a second while one follows the other. Each is an instance with sockets of its own, by names
 * that the agent knows; an Envoy reports which instance it is, and nothing else that it says about its sockets is
 * believed.
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

/** The path where the agent serves xDS. */
export function xdsSocket(directory: string): string {
  return join(directory, 'xds.sock')
}

/** The socket of an Envoy's admin interface. */
export function adminSocket({ directory, users }: EnvoySockets, instance: Instance): UnixAddress {
  return { path: join(directory, `admin-${instance}.sock`), users }
}

/** The socket where an Envoy's workers answer for as long as it is well. */
export function canarySocket({ directory, users }: EnvoySockets, instance: Instance): UnixAddress {
  return { path: join(directory, `canary-${instance}.sock`), users }
}

/** The paths of all sockets that may be in the directory. */
export function socketPaths(directory: string): readonly string[] {
  const ofEnvoys = instances.flatMap(instance => [
    adminSocket({ directory }, instance),
    canarySocket({ directory }, instance),
  ])
  return [xdsSocket(directory), ...ofEnvoys.map(({ path }) => path)]
}

const instanceKey = 'lightpath.cloud/instance'

/** The entry of Node.metadata by which an Envoy's bootstrap reports the instance. */
export function metadataOfInstance(instance: Instance): Readonly<Record<string, string>> {
  return { [instanceKey]: String(instance) }
}

/** Reads the instance. An Envoy that reports none, or a made-up one, counts as the first. */
export function instanceIn(metadata: ReadonlyMap<string, string>): Instance {
  return metadata.get(instanceKey) === '2' ? 2 : 1
}
