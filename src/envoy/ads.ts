import type { MessageInitShape } from '@bufbuild/protobuf'
import { ApiVersion, type ConfigSourceSchema } from './api/envoy/config/core/v3/config_source_pb.js'

/**
 * Says that Envoy gets what a resource names on its one stream to the xDS server, in order with everything else (ADS).
 */
export const fromAds: MessageInitShape<typeof ConfigSourceSchema> = {
  configSourceSpecifier: { case: 'ads', value: {} },
  resourceApiVersion: ApiVersion.V3,
}

/** The cluster that is the agent, in every bootstrap. */
export const xdsClusterName = 'xds'
