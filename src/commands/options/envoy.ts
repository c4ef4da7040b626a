/** Envoy: its sockets and ports, and how much it may have. */

import { defaultEnvoyLimits } from '../../plan/envoy/quota.ts'
import { defaultFirstBytesTimeout } from '../../services/settings/definitions.ts'
import { formatDuration } from '../../services/settings/duration.ts'
import { type NodeLbPolicy, nodeLbPolicies } from '../../services/settings/settings.ts'
import type { Definition } from './definition.ts'
import { count, countOrAll, duration, lineRate, oneOf, onOff, path, portPair, silence, userId } from './values.ts'

export const envoyOptions = {
  envoySockets: {
    ...path,
    description:
      'directory of the Unix sockets between agent and Envoy (xDS, admin interface, canary), which the agent closes to all but root and the user of Envoy; give it to both `node` and `bootstrap`',
    default: '/run/lightpath/envoy',
  },
  envoyUser: {
    ...userId,
    description: 'id of the user that Envoy runs as, and of its group; it, and no other but root, is taken for Envoy',
    default: 61166,
  },
  adminPort: {
    ...portPair,
    description:
      "port, on 127.0.0.1, on which Envoy's admin pages can be read; an Envoy that follows another has the next one",
    default: 15000,
  },
  redirectPort: {
    ...portPair,
    description: 'port on which Envoy takes redirected connections, with the next one',
    default: 1666,
  },
  envoyPortsPerService: {
    ...count,
    description:
      'ports of a Service that Envoy takes, each external address of one counted beside (setting external); the kernel layer serves the rest',
    default: defaultEnvoyLimits.ofService,
  },
  envoyPortsPerNamespace: {
    ...count,
    description: 'the same of all Services of a namespace together; older Services come first',
    default: defaultEnvoyLimits.ofNamespace,
  },
  envoyPorts: {
    ...countOrAll,
    description:
      'Service ports that Envoy has here. Of more, it has those that this node called most recently, and those with the setting overlay: always; the kernel layer serves the others',
    default: 1000 as number | 'all',
  },
  envoyEndpointsPerPort: {
    ...count,
    description:
      'endpoints that Envoy has of a Service port with more: a random part, another on each node, which changes as little as can be; 0 for all. The kernel layer has all',
    default: 1000,
  },
  lbPolicy: {
    ...oneOf(...nodeLbPolicies),
    description: 'how Envoy chooses an endpoint of a port whose settings name no lb-policy',
    default: 'LEAST_REQUEST' as NodeLbPolicy,
  },
  firstBytesTimeout: {
    ...silence,
    description:
      'how long a client of an http or grpc port may say nothing before its connection goes on as TCP, for ports whose settings name no first-bytes-timeout',
    default: defaultFirstBytesTimeout,
    defaultText: formatDuration(defaultFirstBytesTimeout),
  },
  envoyModule: {
    ...onOff,
    description:
      "whether this Envoy finds Lightpath's module in ENVOY_DYNAMIC_MODULES_SEARCH_PATH, for `bootstrap`; images find out when they start Envoy",
    default: false as boolean,
    defaultText: 'off',
  },
  envoyHeap: {
    ...count,
    description:
      'MiB of memory that Envoy may have in use, for `bootstrap`; from 80 % of it on the kernel layer serves. Its container needs a quarter more',
    default: 2048,
  },
  accessLogRate: {
    ...lineRate,
    description:
      'lines a second that the access log has of a Service port on this node, ten times as many at once; five times as many of all ports of a namespace, and twenty times of all namespaces',
    default: 50,
  },
  drainTime: {
    ...duration,
    description:
      'how long connections of a port that left Envoy may stay there before they are told to end; five minutes later at most none is left',
    default: 600e3,
    defaultText: formatDuration(600e3),
  },
} satisfies Record<string, Definition<unknown>>
