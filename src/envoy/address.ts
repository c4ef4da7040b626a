/** Addresses as Envoy writes them. */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { AddressSchema } from './api/envoy/config/core/v3/address_pb.js'

export function socketAddress(ip: string, port: number): MessageInitShape<typeof AddressSchema> {
  return {
    address: {
      case: 'socketAddress',
      value: { address: ip, portSpecifier: { case: 'portValue', value: port } },
    },
  }
}

/** @param mode the mode of the socket's file, where Envoy makes it */
export function pipeAddress(path: string, mode?: number): MessageInitShape<typeof AddressSchema> {
  return { address: { case: 'pipe', value: { path, ...(mode === undefined ? {} : { mode }) } } }
}
