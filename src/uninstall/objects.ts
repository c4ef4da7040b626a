/**
 * The objects that an installation may have in the cluster, by the paths of the API, and those that clean its nodes.
 */

import { namespace } from '../cluster/namespace.ts'
import type { Raw } from '../text/raw.ts'

const name = 'lightpath.cloud'
const admission = '/apis/admissionregistration.k8s.io/v1'
const access = '/apis/rbac.authorization.k8s.io/v1'

/** Policies of these names, with their bindings, which go first. */
const policies = (kind: 'mutating' | 'validating', ...names: readonly string[]) =>
  names.flatMap(each => [
    `${admission}/${kind}admissionpolicybindings/${each}`,
    `${admission}/${kind}admissionpolicies/${each}`,
  ])

/** The objects that label new Services, and give new Pods a readiness gate. Not every version of Kubernetes has policies. */
export const admissionObjects: readonly string[] = [
  `${admission}/mutatingwebhookconfigurations/${name}`,
  ...policies('mutating', name, `reachability-gate.${name}`),
]

/**
 * Of deploy/node, deploy/webhook and components, which go last: a Pod that got a gate just now is ready by its policy. All
 * else is in the namespace.
 */
export const accessObjects: readonly string[] = [
  ...clusterRoles('lightpath-reachability'),
  ...policies('validating', `reachability.${name}`),
  ...policies('mutating', `reachable.${name}`),
  ...clusterRoles(
    'lightpath-node',
    'lightpath-webhook',
    'lightpath-controlplane',
    'lightpath-facts',
    'lightpath-metrics',
  ),
]

function clusterRoles(...names: readonly string[]): readonly string[] {
  return names.flatMap(each => [`${access}/clusterrolebindings/${each}`, `${access}/clusterroles/${each}`])
}

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
