import { dirname, join } from 'node:path'
import type { Log } from '../observe/log.ts'
import type { FindReplicas } from '../sources/controlplane/replicas/addresses.ts'
import type { Source } from '../sources/source.ts'
import type { Config } from './options.ts'

/**
 * Makes the source that this configuration names.
 *
 * @param quietMs how long the API server may be silent until that is a problem
 */
export async function createSource(config: Config, log: Log, quietMs?: number): Promise<Source> {
  const { source, kubeconfig, nodeName, controlPlanePatience: patienceMs } = config
  if (source !== undefined) {
    const { directorySource } = await import('../sources/directory/directory.ts')
    return directorySource(source, { log })
  }
  const { kubernetesSource } = await import('../sources/kubernetes.ts')
  const direct = () => kubernetesSource({ kubeconfig, nodeName, log, quietMs })
  const findReplicas = await replicasOf(config)
  if (!findReplicas) return direct()
  const { controlPlaneAuthority: authority, controlPlaneToken: token } = config
  const security = authority === undefined ? undefined : { authority, token }
  const { controlPlaneSource } = await import('../sources/controlplane/controlplane.ts')
  const exchangesFailures = config.maxExcluded > 0
  return controlPlaneSource({ findReplicas, security, nodeName, direct, patienceMs, exchangesFailures, log })
}

async function replicasOf(config: Config): Promise<FindReplicas | undefined> {
  const { controlPlanes, controlPlaneService: service, nodeName, kubeconfig, socket } = config
  if (service) {
    const [{ serviceEndpoints }, { kubernetesApi }] = await Promise.all([
      import('../sources/controlplane/replicas/serviceendpoints.ts'),
      import('../cluster/api.ts'),
    ])
    const ask = kubernetesApi(kubeconfig)
    const file = join(dirname(socket), 'control-planes.json')
    return serviceEndpoints({ service, nodeName, get: path => ask('GET', path), file })
  }
  if (controlPlanes.length === 0) return undefined
  const { hostAddresses } = await import('../sources/controlplane/replicas/addresses.ts')
  return hostAddresses(controlPlanes, config.controlPlaneAuthority !== undefined)
}
