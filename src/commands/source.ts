import type { Log } from '../observe/log.ts'
import type { Source } from '../sources/source.ts'
import type { Config } from './options.ts'

/**
 * Makes the source that this configuration names.
 *
 * @param quietMs how long the API server may be silent until that is a problem
 */
export async function createSource(config: Config, log: Log, quietMs?: number): Promise<Source> {
  const { source, kubeconfig, nodeName, controlPlanes, controlPlanePatience: patienceMs } = config
  if (source !== undefined) {
    const { directorySource } = await import('../sources/directory/directory.ts')
    return directorySource(source, { log })
  }
  const { kubernetesSource } = await import('../sources/kubernetes.ts')
  const direct = () => kubernetesSource({ kubeconfig, nodeName, log, quietMs })
  if (controlPlanes.length === 0) return direct()
  const { controlPlaneAuthority: authority, controlPlaneToken: token } = config
  const security = authority === undefined ? undefined : { authority, token }
  const { controlPlaneSource } = await import('../sources/controlplane/controlplane.ts')
  return controlPlaneSource({ controlPlanes, security, nodeName, direct, patienceMs, log })
}
