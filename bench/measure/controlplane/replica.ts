/** A control plane as it ships, by TLS on a node of its own. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeServerCertificate } from '../../../src/certificates/certificate.ts'
import type { LabNode, Network } from '../../../src/lab/network.ts'
import type { Child } from '../../../src/lab/processes.ts'
import { waitFor } from '../../../src/lab/wait.ts'
import { JsonLog, shipped } from '../../lab/node.ts'

export interface Replica {
  readonly process: Child
  /** Host and port. */
  readonly address: string
  /** A file with the certificate that has signed its own. */
  readonly authority: string
  /** From its start until it served, seconds. */
  readonly started: number
}

const port = 9444
const limitMs = 120_000
const day = 24 * 3600e3

/** Resolves when it serves. */
export async function startReplica(network: Network, node: LabNode, kubeconfig: string): Promise<Replica> {
  const directory = join(network.directory, `${node.name}-controlplane`)
  const authority = join(directory, 'authority.crt')
  mkdirSync(directory, { recursive: true })
  const [from, to] = [-day, day].map(ms => new Date(Date.now() + ms))
  const made = makeServerCertificate([node.address], from!, to!)
  writeFileSync(join(directory, 'tls.crt'), made.certificate)
  writeFileSync(join(directory, 'tls.key'), made.key)
  writeFileSync(authority, made.authority)

  const address = `${node.address}:${port}`
  const flags = [
    '--control-plane-address',
    address,
    '--control-plane-certificate',
    directory,
    '--kubeconfig',
    kubeconfig,
  ]
  const began = performance.now()
  const logFile = join(directory, `${Date.now()}.log`)
  const process = await network.processes.spawnIn(node.netns, shipped(network), ['controlplane', ...flags], { logFile })
  const log = new JsonLog(logFile)
  try {
    await waitFor('the control plane', limitMs, () =>
      log.take().some(({ msg }) => msg.startsWith('everything is known')),
    )
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${log.tail()}`)
  } finally {
    log.close()
  }
  return { process, address, authority, started: (performance.now() - began) / 1000 }
}

/** What has an agent read from this control plane. */
export function flagsFor({ address, authority }: Replica, token: string): readonly string[] {
  return ['--control-planes', address, '--control-plane-authority', authority, '--control-plane-token', token]
}
