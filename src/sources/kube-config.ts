/** Imported only when it is needed: this is the one place that loads Kubernetes' client library, 80 MB unless bundled. */

import { readFileSync } from 'node:fs'
import { delimiter, dirname, resolve } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { rawList, rawObject } from '../services/raw.ts'

/** From this file, or as kubectl and pods find it: KUBECONFIG, ~/.kube/config, the pod's service account. */
export function loadKubeConfig(file: string | undefined): KubeConfig {
  const config = new KubeConfig()
  const named = file ?? process.env.KUBECONFIG
  if (!named || (file === undefined && named.includes(delimiter))) config.loadFromDefault()
  else {
    config.loadFromFile(named)
    useTokenFiles(config, named)
  }
  return config
}

/** The library does not know `tokenFile` of a kubeconfig's user, which kube-proxy's has, but it re-reads files of its own. */
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
