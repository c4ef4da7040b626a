/** The control plane. */

import type { TcpAddress } from '../../observe/http.ts'
import { socketAddress } from '../values.ts'
import type { Definition } from './definition.ts'

export const controlPlaneOptions = {
  controlPlaneAddress: {
    ...socketAddress(9444),
    description:
      'where the control plane serves agents; streams are not encrypted yet, so only an address of this host alone is taken',
    default: { address: '127.0.0.1', port: 9444 } as TcpAddress,
    defaultText: '127.0.0.1:9444',
  },
} satisfies Record<string, Definition<unknown>>
