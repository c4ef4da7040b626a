/** Who the agent is, where it reads from and where it answers. */

import { hostname } from 'node:os'
import { logLevels } from '../../observe/log.ts'
import { type ServiceScope, serviceScopes } from '../../plan/ports/scope.ts'
import { formatDuration } from '../../services/settings/duration.ts'
import type { HostPort } from '../../sources/controlplane/replicas/addresses.ts'
import type { ServiceName } from '../../sources/controlplane/replicas/serviceendpoints.ts'
import type { Definition } from './definition.ts'
import {
  type BindAddress,
  bindAddress,
  duration,
  hostPorts,
  oneOf,
  path,
  percentage,
  portNumber,
  serviceName,
  text,
} from './values.ts'

export const generalOptions = {
  nodeName: {
    ...text,
    description: 'this node, as the Kubernetes API calls it',
    default: process.env.NODE_NAME || hostname(),
    defaultText: '$NODE_NAME, else the host name; for verify and preflight the name that the running agent has',
  },
  source: {
    ...path,
    description: 'directory of manifests (YAML or JSON) to read Services from, in place of the Kubernetes API',
    default: undefined as string | undefined,
  },
  controlPlanes: {
    ...hostPorts,
    description:
      'control planes (`lightpath controlplane`) to read Services from, in place of a watch of the Kubernetes API by this node; a name may have the addresses of several replicas. Without --control-plane-authority only addresses of this host are taken',
    default: [] as readonly HostPort[],
    defaultText: 'none',
  },
  controlPlaneService: {
    ...serviceName,
    description:
      "Service whose endpoints are the control planes, by a port named facts, in place of --control-planes; those in the node's zone are asked first. Needs --control-plane-authority",
    default: undefined as ServiceName | undefined,
  },
  controlPlaneAuthority: {
    ...path,
    description:
      "file with certificates (PEM) of authorities, one of which has to have signed the control plane's; read for each stream, which is by TLS then",
    default: undefined as string | undefined,
  },
  controlPlaneToken: {
    ...path,
    description:
      'file with the token that the agent shows a control plane, of a ServiceAccount, for the audience lightpath-controlplane; read for each stream',
    default: '/var/run/secrets/lightpath-controlplane/token',
  },
  controlPlanePatience: {
    ...duration,
    description:
      'the agent watches the Kubernetes API itself after so long without a control plane, and as long again at random, until one has told everything',
    default: 30_000,
    defaultText: formatDuration(30_000),
  },
  maxExcluded: {
    ...percentage,
    description:
      "percent of a Service port's ready endpoints that are left out at most, and never the last one, since most nodes that use them cannot reach them, as a control plane says; 0: none, and this node says nothing about them either",
    default: 50,
  },
  kubeconfig: {
    ...path,
    description: 'how to reach the Kubernetes API',
    default: undefined as string | undefined,
    defaultText: 'in a pod its service account, else $KUBECONFIG or ~/.kube/config',
  },
  services: {
    ...oneOf(...serviceScopes),
    description:
      'Services to serve; labelled: only those with the label service.kubernetes.io/service-proxy-name: lightpath.cloud, beside a kube-proxy that serves the others',
    default: 'all' as ServiceScope,
  },
  families: {
    ...oneOf('ipv4', 'ipv6', 'dual'),
    description: 'IP families to serve; dual is ipv4 alone where the kernel has no IPv6, or lo has it disabled',
    default: 'dual' as 'ipv4' | 'ipv6' | 'dual',
  },
  metricsAddress: {
    ...text,
    description: 'address of /metrics, /healthz and /readyz',
    default: undefined as string | undefined,
    defaultText: 'all addresses, IPv4 and, where the node has it, IPv6',
  },
  metricsPort: {
    ...portNumber,
    description: 'port of /metrics without the series of Services, /healthz and /readyz; for whoever asks',
    default: 9000,
  },
  servicesMetricsPort: {
    ...portNumber,
    description:
      'port of /metrics with the series of Services: by HTTPS for bearers of a token whose user may get the nonResourceURL /metrics; with --source by HTTP, on 127.0.0.1 alone',
    default: 9001,
  },
  metricsBindAddress: {
    ...bindAddress(10249),
    description:
      'where /metrics (as on --metrics-port), /healthz and /proxyMode are, too, as kube-proxy has them at 127.0.0.1:10249',
    default: 'none' as BindAddress,
  },
  healthzBindAddress: {
    ...bindAddress(10256),
    description: "where load balancers and probes ask for /healthz and /livez, as they ask kube-proxy's",
    default: undefined as BindAddress | undefined,
    defaultText: 'port 10256 of all addresses; none with --services=labelled, where kube-proxy has that port',
  },
  socket: {
    ...path,
    description: 'Unix socket at which the agent answers explain, status, services and debug dump',
    default: '/run/lightpath/agent.sock',
  },
  logLevel: {
    ...oneOf(...logLevels),
    description: 'least important level that is logged',
    default: 'info' as (typeof logLevels)[number],
  },
} satisfies Record<string, Definition<unknown>>
