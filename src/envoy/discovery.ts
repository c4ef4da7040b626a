/**
 * Gives the filter that serves connections by itself (extension config discovery, ECDS): a Service port's own, so that its
 * settings change no listener, and the one of all shared listeners, whose message Envoy would keep twice for each of them.
 * New connections have the new settings, and earlier ones keep theirs. A changed listener would stay in Envoy for its drain
 * time, and its connections would end then.
 *
 * A listener without the filter closes its connections, and routes that a connection manager asks for after its listener was
 * taken into service never come (Envoy 1.40). So a listener waits for its filter, however long that takes.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/overview/extension
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { fromAds } from './ads.ts'
import { TypedExtensionConfigSchema } from './api/envoy/config/core/v3/extension_pb.js'
import type { FilterSchema } from './api/envoy/config/listener/v3/listener_components_pb.js'
import { duration, encode, resource } from './encoding.ts'
import { type Resource, type ResourceRef, typeUrls } from './resource.ts'

type Filter = MessageInitShape<typeof FilterSchema>

const source = { ...fromAds, initialFetchTimeout: duration(0) }

/** The last of these filters is discovered by this name; the others stand in the listener. */
export function byDiscovery(name: string, filters: readonly Filter[]): readonly Filter[] {
  const { value: typedConfig } = configOf(filters)
  const value = { configSource: source, typeUrls: [typedConfig.typeUrl!] }
  return filters.with(-1, { name, configType: { case: 'configDiscovery', value } })
}

/**
 * Makes the last of these filters a resource of this name.
 * @param askedForBy the listeners
 */
export function filterResource(
  name: string,
  filters: () => readonly Filter[],
  askedForBy: readonly ResourceRef[],
): Resource {
  const bytes = () => encode(TypedExtensionConfigSchema, { name, typedConfig: configOf(filters()).value })
  return { ...resource(typeUrls.filter, name, bytes), askedForBy }
}

function configOf(filters: readonly Filter[]) {
  const { configType } = filters.at(-1)!
  if (configType?.case !== 'typedConfig') throw new Error('the last filter has no configuration of its own')
  return configType
}
