import { factsAccess } from '../../controlplane/admission.ts'
import { startControlPlane, usualMostStreams } from '../../controlplane/server.ts'
import { hostPort } from '../../net/address.ts'
import { Bearers } from '../../observe/access/bearers.ts'
import { createLog, type Log } from '../../observe/log.ts'
import { isLoopback } from '../../sources/controlplane/addresses.ts'
import type { Source } from '../../sources/source.ts'
import type { Config } from '../options.ts'
import { UsageError } from '../usage.ts'

/** Runs until SIGTERM or SIGINT. */
export async function runControlPlane(config: Config): Promise<void> {
  const { controlPlaneAddress: address, controlPlaneCertificate: certificate } = config
  if (certificate === undefined && !isLoopback(address.address)) {
    throw new UsageError(
      `--control-plane-address ${hostPort(address.address, address.port)} can be reached from other hosts, which takes TLS; give --control-plane-certificate, or an address such as 127.0.0.1:9444`,
    )
  }
  const log = createLog(config.logLevel)
  const source = await sourceOf(config, log)
  const bearers = certificate === undefined ? undefined : await bearersOf(config)
  const controlPlane = await startControlPlane({ address, certificate, bearers, log })
  log.info({ port: controlPlane.port }, 'control plane started')
  await source.start(controlPlane)
  await new Promise<void>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => resolve())
  })
  await source.stop()
  await controlPlane.stop()
}

async function bearersOf({ kubeconfig }: Config): Promise<Bearers> {
  const { kubernetesApi } = await import('../../cluster/api.ts')
  const ask = kubernetesApi(kubeconfig)
  // A token is replaced each hour, and the one before is known for as long.
  const mostTokens = 2 * usualMostStreams
  return new Bearers((path, object) => ask('POST', path, object), factsAccess, { mostTokens })
}

async function sourceOf({ source, kubeconfig }: Config, log: Log): Promise<Source> {
  if (source !== undefined) {
    const { directorySource } = await import('../../sources/directory/directory.ts')
    return directorySource(source, { log })
  }
  const { kubernetesSource } = await import('../../sources/kubernetes.ts')
  return kubernetesSource({ kubeconfig, log })
}
