import { kubernetesApi } from '../../cluster/api.ts'
import { findInstallation, type Installation } from '../../uninstall/found.ts'
import { cleanupNamespace, ourNamespace } from '../../uninstall/objects.ts'
import { shortOf, type Uninstalled, uninstall } from '../../uninstall/uninstall.ts'
import type { Config } from '../options.ts'
import { type Output, print } from '../output/print.ts'
import { UsageError } from '../usage.ts'

export interface UninstallCommandOptions {
  /** Do it, in place of saying what would be done. */
  readonly yes: boolean
  /** Also where there seems to be no kube-proxy. */
  readonly force: boolean
  readonly image: string | undefined
  /** Seconds, as given. */
  readonly timeout: string
  readonly output: Output
}

interface Outcome {
  readonly found: readonly string[]
  /** Undefined where nothing was done. */
  readonly result: Uninstalled | undefined
}

export async function runUninstall(config: Config, options: UninstallCommandOptions): Promise<void> {
  const seconds = Number(options.timeout)
  if (!/^\d{1,5}$/.test(options.timeout) || seconds === 0)
    throw new UsageError(`--timeout is ${JSON.stringify(options.timeout)}, which is not a number of seconds`)
  const ask = kubernetesApi(config.kubeconfig)
  const installation = await findInstallation(ask)
  const found = describe(installation)
  if (!options.yes) return print(options.output, { found, result: undefined } satisfies Outcome, render)
  const { servesAll, withoutKubeProxy, nodes } = installation
  if (servesAll && withoutKubeProxy.length > 0 && !options.force) {
    throw new Error(
      `the agents serve all Services, and ${withoutKubeProxy.length} of ${nodes.length} nodes have no pod of kube-proxy: nobody would serve Services there. Start kube-proxy first; where it is no pod, --force goes on`,
    )
  }
  const image = options.image ?? installation.image
  if (image === undefined)
    throw new Error('no node tells of an image of Lightpath, with which nodes are cleaned: name it by --image')
  const say = (what: string) => void process.stderr.write(`uninstall: ${what}\n`)
  const result = await uninstall(ask, installation, { image, timeoutMs: seconds * 1000, say })
  if (result.otherNodes.length + result.failedServices.length > 0) process.exitCode = 1
  print(options.output, { found, result } satisfies Outcome, render)
}

function describe(found: Installation): readonly string[] {
  const { services, agents, envoys } = found
  return [
    ...[...found.admission, ...found.access].map(shortOf),
    ...(found.hasNamespace ? [`namespace ${ourNamespace}`] : []),
    ...(agents ? ['DaemonSet lightpath-node, the agents'] : []),
    ...(envoys ? ['DaemonSet lightpath-proxy, the Envoys'] : []),
    ...(services.length > 0 ? [`${services.length} Services that have the label of Lightpath`] : []),
    ...(found.hasCleanup ? [`namespace ${cleanupNamespace}, of an uninstallation before`] : []),
    `${found.nodes.length} nodes, whose kernels may have rules of Lightpath`,
  ]
}

export function render({ found, result }: Outcome): string {
  const lines = ['found:', ...found.map(what => `  ${what}`)]
  if (result === undefined) {
    lines.push('All of it is removed, Services are handed back to kube-proxy, and each node is cleaned by a pod.')
    return `${[...lines, 'Nothing was changed; --yes does it.'].join('\n')}\n`
  }
  lines.push('done:', ...result.done.map(what => `  ${what}`))
  const left = [
    ...result.failedServices.map(({ name, reason }) => `  Service ${name} has the label still: ${reason}`),
    ...result.otherNodes.map(({ name, reason }) => `  node ${name} is not known to be clean: ${reason}`),
  ]
  if (left.length === 0) return `${[...lines, 'Nothing of Lightpath is left.'].join('\n')}\n`
  const waits = `What cleans nodes stays in namespace ${cleanupNamespace} until the same command finds all of them clean.`
  return `${[...lines, 'left:', ...left, ...(result.otherNodes.length > 0 ? [waits] : [])].join('\n')}\n`
}
