/** The control plane. */

import type { TcpAddress } from '../../observe/http.ts'
import { path, socketAddress } from '../values.ts'
import type { Definition } from './definition.ts'

export const controlPlaneOptions = {
  controlPlaneAddress: {
    ...socketAddress(9444),
    description:
      'where the control plane serves agents; without --control-plane-certificate an address of this host alone',
    default: { address: '127.0.0.1', port: 9444 } as TcpAddress,
    defaultText: '127.0.0.1:9444',
  },
  controlPlaneCertificate: {
    ...path,
    description:
      'directory with tls.crt and tls.key, which are read again when they change. The control plane serves by TLS then, and whoever shows a token for the audience lightpath-controlplane whose user may get the nonResourceURL /lightpath/facts',
    default: undefined as string | undefined,
  },
} satisfies Record<string, Definition<unknown>>
