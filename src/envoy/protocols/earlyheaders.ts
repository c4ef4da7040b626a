/**
 * Writes headers of a request before Envoy decides anything about it.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/header_mutation
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { HeaderValueOption_HeaderAppendAction as Append } from '../api/envoy/config/core/v3/base_pb.js'
import type { TypedExtensionConfigSchema } from '../api/envoy/config/core/v3/extension_pb.js'
import { HeaderMutationSchema } from '../api/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.js'
import { any } from '../encoding.ts'

export type EarlyHeader = ReturnType<typeof set>

/**
 * Applies them one after the other, over what the client may have sent. Each such extension takes half a kilobyte of
 * every listener.
 */
export function earlyHeaders(
  ...mutations: readonly EarlyHeader[]
): MessageInitShape<typeof TypedExtensionConfigSchema> {
  return {
    name: 'envoy.http.early_header_mutation.header_mutation',
    typedConfig: any(HeaderMutationSchema, { mutations: [...mutations] }),
  }
}

/** @param value may have command operators, such as `%REQ(upgrade)%` */
export function set(key: string, value: string, appendAction: Append = Append.OVERWRITE_IF_EXISTS_OR_ADD) {
  return { action: { case: 'append', value: { header: { key, value }, appendAction } } } as const
}
