/**
 * Sets what listeners and clusters have no option for in Envoy's HTTP: runtime flags, the same for all of an Envoy.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/operations/runtime
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { RuntimeLayerSchema } from '../api/envoy/config/bootstrap/v3/bootstrap_pb.js'

export const httpRuntimeLayer: MessageInitShape<typeof RuntimeLayerSchema> = {
  name: 'lightpath-http',
  layerSpecifier: {
    case: 'staticLayer',
    value: {
      // The body of a request that offers an upgrade goes to the endpoint at once: the endpoint may need it before it
      // answers.
      'envoy.reloadable_features.http_pause_generic_upgrade_request_body': false,
      // A client that cancels many requests, such as one that races calls, keeps its connection.
      'overload.premature_reset_total_stream_count': 1_000_000_000,
    },
  },
}
