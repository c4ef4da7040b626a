/** Reads what a control plane tells: the DeltaDiscoveryResponses that response.ts writes. */

import { fromBinary } from '@bufbuild/protobuf'
import { DeltaDiscoveryResponseSchema } from '../envoy/api/envoy/service/discovery/v3/discovery_pb.js'
import type { KubeObject } from '../services/objects/objects.ts'
import { show } from '../text/raw.ts'
import { decodeFact } from './decode.ts'
import { type FactType, isScope, typeOfUrl } from './types.ts'

/** What one response says. */
export interface Told {
  readonly type: FactType
  readonly nonce: string
  readonly put: readonly { readonly name: string; readonly version: string; readonly object: KubeObject }[]
  readonly removed: readonly string[]
  /** Scopes of which everything has been told up to this version, with this response. */
  readonly complete: readonly { readonly scope: string; readonly version: string }[]
  /** Resources that cannot be read, as those of a newer version with what this one does not know. */
  readonly unreadable: readonly { readonly name: string; readonly reason: string }[]
}

/** @throws Error where the bytes are no response with facts */
export function readFacts(bytes: Uint8Array): Told {
  const { typeUrl, nonce, resources, removedResources } = fromBinary(DeltaDiscoveryResponseSchema, bytes)
  const type = typeOfUrl(typeUrl)
  if (type === undefined) throw new Error(`${show(typeUrl)} is no type of facts`)
  const put: Told['put'][number][] = []
  const complete: Told['complete'][number][] = []
  const unreadable: Told['unreadable'][number][] = []
  for (const { name, version, resource } of resources) {
    if (isScope(name)) complete.push({ scope: name, version })
    else {
      try {
        put.push({ name, version, object: decodeFact(type, resource?.value ?? new Uint8Array()) })
      } catch (error) {
        unreadable.push({ name, reason: (error as Error).message })
      }
    }
  }
  return { type, nonce, put, removed: removedResources, complete, unreadable }
}
