/**
 * Loads Kubernetes' client library, 80 MB unless bundled. This is the only file that does, and it is imported only when
 * needed.
 */

import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { hostPort } from '../net/address.ts'
import { rawList, rawObject } from '../text/raw.ts'

/** So the library names the cluster of a pod's service account. */
const inCluster = 'inCluster'
/** The files where kubectl and pods find credentials by default. */
const usualFiles = () => [join(homedir(), '.kube/config'), '/var/run/secrets/kubernetes.io/serviceaccount/token']

/**
 * A pod that is not to use the Service of the API server has the address in files `host` and `port` here, beside its
 * service account (deploy/components/kube-proxy-free).
 */
const addressDirectory = '/etc/lightpath/api-server'

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
  return atAddress(config, addressDirectory)
}

/** Of a pod's service account: with the address that this directory has, if it has one. */
export function atAddress(config: KubeConfig, directory: string): KubeConfig {
  const read = (name: string) => readFileSync(join(directory, name), 'utf8').trim()
  if (!existsSync(join(directory, 'host'))) return config
  const server = `https://${hostPort(read('host'), Number(read('port')))}`
  config.clusters = config.clusters.map(one => (one.name === inCluster ? { ...one, server } : one))
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
