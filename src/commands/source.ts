import type { Log } from '../observe/log.ts'
import type { Source } from '../sources/source.ts'
import type { Config } from './options.ts'

/**
 * Makes the source that this configuration names.
 *
 * @param quietMs how long the API server may be silent until that is a problem
 */
export async function createSource(config: Config, log: Log, quietMs?: number): Promise<Source> {
  if (config.source !== undefined) {
    const { directorySource } = await import('../sources/directory/directory.ts')
    return directorySource(config.source, { log })
  }
  const { kubernetesSource } = await import('../sources/kubernetes.ts')
  return kubernetesSource({ kubeconfig: config.kubeconfig, nodeName: config.nodeName, log, quietMs })
}
