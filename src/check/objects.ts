/**
 * Makes what `lightpath check` needs in the cluster for a moment, in a namespace of its own. Nothing of it needs a
 * privilege.
 */

import { hostPort } from '../net/address.ts'
import { handOver } from '../services/handover/rule.ts'
import { type RequestResult, serverPort } from './probe.ts'

const label = { 'app.kubernetes.io/name': 'lightpath', 'app.kubernetes.io/component': 'check' }
const serverLabel = { ...label, 'app.kubernetes.io/component': 'check-server' }
const ports = { envoy: 80, kernel: 81 } as const

export const namespace = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { generateName: 'lightpath-check-', labels: label },
}

/** Two ports of the same pod: one that is Envoy's by its name, one that is the kernel layer's. */
export const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'check',
    labels: { [handOver.key]: handOver.value },
    // Envoy may have no room for one more.
    annotations: { 'config.lightpath.cloud/http-overlay': 'always' },
  },
  spec: {
    ipFamilyPolicy: 'PreferDualStack',
    selector: serverLabel,
    ports: [
      { name: 'http', port: ports.envoy, targetPort: serverPort },
      { name: 'kernel', port: ports.kernel, targetPort: serverPort },
    ],
  },
}

/** @param vips of the Service */
export function targetsOf(vips: readonly string[]): readonly Pick<RequestResult, 'url' | 'layer'>[] {
  return vips.flatMap(vip => [
    { url: `http://${hostPort(vip, ports.envoy)}/`, layer: 'envoy' as const },
    { url: `http://${hostPort(vip, ports.kernel)}/`, layer: 'kernel' as const },
  ])
}

export function serverPod(node: string, image: string): object {
  const readinessProbe = { httpGet: { port: serverPort, path: '/' }, periodSeconds: 1 }
  return pod(node, image, serverLabel, ['serve'], { readinessProbe })
}

export function clientPod(node: string, image: string, targets: ReturnType<typeof targetsOf>): object {
  return pod(node, image, label, ['ask', ...targets.map(({ url, layer }) => `${layer}=${url}`)], {})
}

function pod(node: string, image: string, labels: object, args: readonly string[], more: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'check-', labels },
    spec: {
      nodeName: node,
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 1,
      tolerations: [{ operator: 'Exists' }],
      securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'check',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: ['lightpath', 'check-pod', ...args],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          ...more,
        },
      ],
    },
  }
}
