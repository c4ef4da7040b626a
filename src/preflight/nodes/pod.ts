/** The pod that checks one node. */

import type { Raw } from '../../text/raw.ts'
import type { Check } from '../check.ts'

const label = { 'app.kubernetes.io/name': 'lightpath', 'app.kubernetes.io/component': 'preflight' }

/** Its pods are on the node's network, which the Pod Security Standards call privileged. */
export const namespace = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: {
    generateName: 'lightpath-preflight-',
    labels: { ...label, 'pod-security.kubernetes.io/enforce': 'privileged' },
  },
}

/**
 * The node's network, and what it reads: the CNI's configuration, and where an agent's socket is. As `kubectl debug
 * node` has them.
 */
const volumes = [
  { name: 'cni', path: '/etc/cni/net.d', mountPath: '/host/etc/cni/net.d' },
  { name: 'run', path: '/run', mountPath: '/host/run' },
]

/** @param flags of `lightpath preflight`, beside those that this needs itself */
export function podFor(node: string, image: string, flags: readonly string[]) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'preflight-', labels: label },
    spec: {
      nodeName: node,
      hostNetwork: true,
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 1,
      tolerations: [{ operator: 'Exists' }],
      containers: [
        {
          name: 'preflight',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: ['lightpath', 'preflight', '--node-name', node, '--output', 'json', ...flags],
          securityContext: {
            runAsUser: 0,
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
          },
          volumeMounts: volumes.map(({ name, mountPath }) => ({ name, mountPath, readOnly: true })),
        },
      ],
      volumes: volumes.map(({ name, path }) => ({ name, hostPath: { path } })),
    },
  }
}

/** Reads what the pod printed; undefined where that is no report. */
export function checksIn({ checks }: Raw): readonly Check[] | undefined {
  return Array.isArray(checks) ? (checks as readonly Check[]) : undefined
}
