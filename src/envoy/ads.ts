import type { MessageInitShape } from '@bufbuild/protobuf'
import { ApiVersion, type ConfigSourceSchema } from './api/envoy/config/core/v3/config_source_pb.js'

/** Where Envoy learns what a resource names: on the one stream to its xDS server, by which all come in order (ADS). */
export const fromAds: MessageInitShape<typeof ConfigSourceSchema> = {
  configSourceSpecifier: { case: 'ads', value: {} },
  resourceApiVersion: ApiVersion.V3,
}

/** The cluster that is the agent, in every bootstrap. */
export const xdsClusterName = 'xds'
