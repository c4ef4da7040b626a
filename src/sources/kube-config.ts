/**
 * Loads Kubernetes' client library, 80 MB unless bundled. This is the only file that does, and it is imported only when
 * needed.
 */

import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { rawList, rawObject } from '../text/raw.ts'

/** The files where kubectl and pods find credentials by default. */
const usualFiles = () => [join(homedir(), '.kube/config'), '/var/run/secrets/kubernetes.io/serviceaccount/token']

/**
 * Reads this file, or what kubectl and pods find: KUBECONFIG, ~/.kube/config, the pod's service account.
 *
 * @throws Error that says what is missing
 */
export function loadKubeConfig(file: string | undefined): KubeConfig {
  const config = new KubeConfig()
  const named = file ?? process.env.KUBECONFIG
  if (!named && !usualFiles().some(existsSync)) {
    throw new Error('there is no kubeconfig: give one with --kubeconfig, by KUBECONFIG, or in ~/.kube/config')
  }
  if (!named || (file === undefined && named.includes(delimiter))) config.loadFromDefault()
  else loadFile(config, named)
  return config
}

/** Returns the address of the API server. @throws Error where there is none */
export function serverOf(config: KubeConfig): string {
  const server = config.getCurrentCluster()?.server
  if (!server) throw new Error('the kubeconfig has no current context with a cluster')
  return server
}

function loadFile(config: KubeConfig, file: string): void {
  try {
    config.loadFromFile(file)
    useTokenFiles(config, file)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    // Other messages may quote the file.
    throw new Error(`kubeconfig ${file} cannot be read: ${code === undefined ? 'it is none' : message}`)
  }
}

/**
 * The library does not know `tokenFile` of a kubeconfig's user, which kube-proxy's has, but it re-reads files of its
 * own.
 */
function useTokenFiles(config: KubeConfig, file: string): void {
  const tokenFiles = new Map<unknown, string>()
  for (const entry of rawList(rawObject(parse(readFileSync(file, 'utf8'))).users)) {
    const { name, user } = rawObject(entry)
    const { tokenFile } = rawObject(user)
    if (typeof tokenFile === 'string') tokenFiles.set(name, resolve(dirname(file), tokenFile))
  }
  config.users = config.users.map(user => {
    const tokenFile = tokenFiles.get(user.name)
    return tokenFile === undefined ? user : { ...user, authProvider: { name: 'tokenFile', config: { tokenFile } } }
  })
}

export type { KubeConfig }
