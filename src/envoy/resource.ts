/** A resource for Envoy: the joint between `envoy/`, which makes resources, and `xds/`, which delivers them. */

export type TypeUrl = (typeof typeUrls)[keyof typeof typeUrls]

export const typeUrls = {
  filter: 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoints: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  scope: 'type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration',
} as const

/** The type's name for people: `cluster`. */
export function typeNameOf(typeUrl: TypeUrl): string {
  return Object.entries(typeUrls).find(([, url]) => url === typeUrl)![0]
}

export interface ResourceRef {
  readonly typeUrl: TypeUrl
  readonly name: string
}

/** What has to be there before anything refers to this cluster. */
export function backing(name: string): readonly ResourceRef[] {
  return [
    { typeUrl: typeUrls.cluster, name },
    { typeUrl: typeUrls.endpoints, name },
  ]
}

/** Only what refers to the resource. */
export function refOf({ typeUrl, name }: ResourceRef): ResourceRef {
  return { typeUrl, name }
}

/** The resource as a key of maps and sets. */
export function refKey({ typeUrl, name }: ResourceRef): string {
  return `${typeUrl} ${name}`
}

/**
 * A map of values by resource. Its keys are the resources' own names; joined with their types each would be a string of
 * its own.
 */
export class RefMap<Value> {
  readonly #types = new Map<TypeUrl, Map<string, Value>>()

  get({ typeUrl, name }: ResourceRef): Value | undefined {
    return this.#types.get(typeUrl)?.get(name)
  }

  set({ typeUrl, name }: ResourceRef, value: Value): void {
    const values = this.#types.get(typeUrl) ?? new Map<string, Value>()
    this.#types.set(typeUrl, values.set(name, value))
  }

  delete({ typeUrl, name }: ResourceRef): void {
    this.#types.get(typeUrl)?.delete(name)
  }
}

export interface Resource extends ResourceRef {
  /** Made from the content: equal content has an equal version, also after a restart. */
  readonly version: string
  /**
   * Encodes the message, without the Any around it. It is made from its parts whenever it is sent, since the bytes of
   * all Services would be most of what the agent holds, and are needed for a moment.
   */
  readonly encode: () => Uint8Array
  /** It is long, and shorter ones go before it. Default false. */
  readonly isLarge?: boolean
  /**
   * Make before break: this resource is sent to a client only once that client has acknowledged these, and these are
   * removed from a client only once it has acknowledged that this one is gone.
   */
  readonly requires: readonly ResourceRef[]
  /** A client that has one of these asks for this resource. Default: one that has all that it requires. */
  readonly askedForBy?: readonly ResourceRef[]
  /** A client that gets this asks for these, and puts it into service when it has them. Default: nothing. */
  readonly waitsFor?: readonly ResourceRef[]
}
