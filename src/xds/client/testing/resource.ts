/** Resources as the model of Envoy understands them: what they ask for and whether Envoy takes them, as JSON. */

import { type Resource, type ResourceRef, type TypeUrl, typeUrls } from '../../../envoy/resource.ts'
import type { EncodedResource, Response } from '../../response.ts'

/** A resource of the model: `broken` as protobuf, `bad` in its meaning. */
export type Quality = 'good' | 'bad' | 'broken'

export interface Content {
  readonly quality: Quality
  /** A listener's: it asks for the route of its name. */
  readonly route?: boolean
  /** A listener's: it asks for the filter of its name. */
  readonly filter?: boolean
  /** A listener's: it asks for all scopes. */
  readonly scopes?: boolean
}

export function modelResource(
  typeUrl: TypeUrl,
  name: string,
  version: string,
  content: Content,
  requires: readonly ResourceRef[] = [],
): Resource {
  return { typeUrl, name, version, requires, encode: () => new TextEncoder().encode(JSON.stringify(content)) }
}

export function contentOf({ bytes }: EncodedResource): Content {
  return JSON.parse(new TextDecoder().decode(bytes))
}

export function resourcesIn({ put }: Response): readonly Resource[] {
  return put.map(({ resource }) => resource)
}

/** Endpoints complete the cluster of their name, which Envoy takes into service only then. */
export const completes = new Map<TypeUrl, TypeUrl>([[typeUrls.endpoints, typeUrls.cluster]])

/** What each resource requires that it does not complete itself. */
export function* requirementsOf(response: Response): Iterable<ResourceRef & { readonly required: ResourceRef }> {
  for (const { typeUrl, name, requires } of resourcesIn(response)) {
    for (const required of requires) {
      if (completes.get(typeUrl) !== required.typeUrl || required.name !== name) yield { typeUrl, name, required }
    }
  }
}
