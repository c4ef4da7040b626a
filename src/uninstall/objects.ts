/**
 * The objects that an installation may have in the cluster, by the paths of the API, and those that clean its nodes.
 */

import { namespace } from '../cluster/namespace.ts'
import type { Raw } from '../text/raw.ts'

const name = 'lightpath.cloud'
const admission = '/apis/admissionregistration.k8s.io/v1'
const access = '/apis/rbac.authorization.k8s.io/v1'

/** The objects that label new Services. Not every version of Kubernetes has policies. */
export const admissionObjects: readonly string[] = [
  `${admission}/mutatingwebhookconfigurations/${name}`,
  `${admission}/mutatingadmissionpolicybindings/${name}`,
  `${admission}/mutatingadmissionpolicies/${name}`,
]

/** Of deploy/node, deploy/webhook and the components controlplane and prometheus; all else is in the namespace. */
export const accessObjects: readonly string[] = [
  'lightpath-node',
  'lightpath-webhook',
  'lightpath-controlplane',
  'lightpath-facts',
  'lightpath-metrics',
].flatMap(each => [`${access}/clusterrolebindings/${each}`, `${access}/clusterroles/${each}`])

export function daemonSetPath(of: string, component: string): string {
  return `/apis/apps/v1/namespaces/${of}/daemonsets/lightpath-${component}`
}

export function namespacePath(of: string): string {
  return `/api/v1/namespaces/${of}`
}

/** Of the installation, and of what cleans up after it. */
export const ourNamespace = namespace
export const cleanupNamespace = 'lightpath-cleanup'

/** Returns the objects in the order in which they are applied: deploy/cleanup is the same. */
export function cleanupObjects(image: string): { readonly namespace: Raw; readonly daemonSet: Raw } {
  const labels = { 'app.kubernetes.io/name': 'lightpath', 'app.kubernetes.io/component': 'cleanup' }
  const container = { image, imagePullPolicy: 'IfNotPresent' }
  const restricted = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true }
  return {
    namespace: {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {
        name: cleanupNamespace,
        labels: {
          'app.kubernetes.io/name': 'lightpath',
          'pod-security.kubernetes.io/enforce': 'privileged',
        },
      },
    },
    daemonSet: {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'lightpath-cleanup', namespace: cleanupNamespace, labels },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            automountServiceAccountToken: false,
            priorityClassName: 'system-node-critical',
            nodeSelector: { 'kubernetes.io/os': 'linux' },
            tolerations: [{ operator: 'Exists' }],
            hostNetwork: true,
            dnsPolicy: 'Default',
            terminationGracePeriodSeconds: 1,
            securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
            initContainers: [
              {
                name: 'cleanup',
                ...container,
                args: ['cleanup', '--after-envoy'],
                securityContext: {
                  runAsUser: 0,
                  ...restricted,
                  capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
                },
                volumeMounts: [
                  { name: 'run', mountPath: '/run/lightpath' },
                  { name: 'xtables-lock', mountPath: '/run/xtables.lock' },
                ],
              },
            ],
            containers: [
              {
                name: 'cleaned',
                ...container,
                command: ['sleep', '2147483647'],
                resources: { requests: { cpu: '1m', memory: '8Mi' } },
                securityContext: {
                  runAsNonRoot: true,
                  runAsUser: 65532,
                  ...restricted,
                  capabilities: { drop: ['ALL'] },
                },
              },
            ],
            volumes: [
              { name: 'run', hostPath: { path: '/run/lightpath', type: 'DirectoryOrCreate' } },
              { name: 'xtables-lock', hostPath: { path: '/run/xtables.lock', type: 'FileOrCreate' } },
            ],
          },
        },
      },
    },
  }
}
