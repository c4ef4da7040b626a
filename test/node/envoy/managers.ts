/** Changes the connection managers of Service ports, for what no setting says. */

import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { TypedExtensionConfigSchema } from '../../../src/envoy/api/envoy/config/core/v3/extension_pb.js'
import {
  type HttpConnectionManager,
  HttpConnectionManagerSchema,
} from '../../../src/envoy/api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { encode, merge } from '../../../src/envoy/encoding.ts'
import { type Resource, typeUrls } from '../../../src/envoy/resource.ts'

type Added = MessageInitShape<typeof HttpConnectionManagerSchema>

/** Returns a change of resources: those that are connection managers get this version, and what `more` adds to them. */
export function withManager(version: string, more: (manager: HttpConnectionManager) => Added) {
  return (resource: Resource): Resource => {
    if (resource.typeUrl !== typeUrls.filter || !resource.name.endsWith('/http')) return resource
    const config = fromBinary(TypedExtensionConfigSchema, resource.encode())
    const { value, ...any } = config.typedConfig!
    const added = create(HttpConnectionManagerSchema, more(fromBinary(HttpConnectionManagerSchema, value)))
    const typedConfig = { ...any, value: merge(value, encode(HttpConnectionManagerSchema, added)) }
    const bytes = encode(TypedExtensionConfigSchema, { ...config, typedConfig })
    return { ...resource, version, encode: () => bytes }
  }
}
