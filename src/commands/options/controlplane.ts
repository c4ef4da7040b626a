/** The control plane. */

import type { TcpAddress } from '../../observe/http.ts'
import type { Definition } from './definition.ts'
import { duration, path, percentage, socketAddress } from './values.ts'

export const controlPlaneOptions = {
  controlPlaneAddress: {
    ...socketAddress(9444),
    description:
      'where the control plane serves agents: by TLS, and whoever shows a token for the audience lightpath-controlplane whose user may get the nonResourceURL /lightpath/facts; on an address of this host alone without TLS, and everybody',
    default: { address: '127.0.0.1', port: 9444 } as TcpAddress,
    defaultText: '127.0.0.1:9444',
  },
  controlPlaneCertificate: {
    ...path,
    description: 'directory with tls.crt and tls.key for the control plane, read again when they change',
    default: undefined as string | undefined,
    defaultText:
      'one of its own, kept in the Secret lightpath-controlplane, its authority in the ConfigMap lightpath-controlplane-authority',
  },
  controlPlaneState: {
    ...path,
    description:
      'directory in which a control plane keeps what it knows, its certificate, and whom it served: it starts with these where the API server does not answer',
    default: undefined as string | undefined,
    defaultText: 'none',
  },
  maxStaleness: {
    ...duration,
    description:
      'a control plane whose API server said nothing for longer serves nobody: agents go on with what they know, and to the API server',
    default: undefined as number | undefined,
    defaultText: 'none: it serves what it knows, however old',
  },
  maxUnready: {
    ...percentage,
    description:
      "the control plane tells Kubernetes which Pods most nodes cannot reach, by the condition lightpath.cloud/Reachable: of a Service port's endpoints this percentage at most becomes not ready by their readiness gates for it, and never the last",
    default: undefined as number | undefined,
    defaultText: 'none: no condition is written',
  },
} satisfies Record<string, Definition<unknown>>
