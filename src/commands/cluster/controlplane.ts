import { startControlPlane } from '../../controlplane/server.ts'
import { hostPort } from '../../net/address.ts'
import { createLog, type Log } from '../../observe/log.ts'
import { isLoopback } from '../../sources/controlplane/addresses.ts'
import type { Source } from '../../sources/source.ts'
import type { Config } from '../options.ts'
import { UsageError } from '../usage.ts'

/** Runs until SIGTERM or SIGINT. */
export async function runControlPlane(config: Config): Promise<void> {
  const { controlPlaneAddress: address } = config
  if (!isLoopback(address.address)) {
    throw new UsageError(
      `--control-plane-address ${hostPort(address.address, address.port)} can be reached from other hosts, and streams are not encrypted yet; choose one such as 127.0.0.1:9444`,
    )
  }
  const log = createLog(config.logLevel)
  const source = await sourceOf(config, log)
  const controlPlane = await startControlPlane({ address, log })
  log.info({ port: controlPlane.port }, 'control plane started')
  await source.start(controlPlane)
  await new Promise<void>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => resolve())
  })
  await source.stop()
  await controlPlane.stop()
}

async function sourceOf({ source, kubeconfig }: Config, log: Log): Promise<Source> {
  if (source !== undefined) {
    const { directorySource } = await import('../../sources/directory/directory.ts')
    return directorySource(source, { log })
  }
  const { kubernetesSource } = await import('../../sources/kubernetes.ts')
  return kubernetesSource({ kubeconfig, log })
}
