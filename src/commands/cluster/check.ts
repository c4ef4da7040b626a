import { type ClusterReport, checkCluster } from '../../check/cluster.ts'
import { kubernetesApi } from '../../cluster/api.ts'
import { ApiError } from '../../sources/api-server.ts'
import { loadKubeConfig } from '../../sources/kube-config.ts'
import type { Config } from '../options.ts'
import { findings } from '../output/findings.ts'
import { type Output, print } from '../output/print.ts'
import { startProgress } from '../output/progress.ts'
import { paint, table } from '../output/table.ts'
import { UsageError } from '../usage.ts'

export interface CheckOptions {
  readonly image: string | undefined
  /** Seconds, as given. */
  readonly timeout: string
  readonly output: Output
}

const mayNot =
  'the check takes the rights to list nodes and the pods of lightpath-system, to get its DaemonSets and Deployments, to get and create pods/exec there, to create and delete namespaces, and to create and get Services, pods and their logs in them'

/** The exit code is 1 where something is wrong. */
export async function check(config: Config, { image, timeout, output }: CheckOptions): Promise<void> {
  const seconds = Number(timeout)
  if (!/^\d{1,5}$/.test(timeout) || seconds === 0)
    throw new UsageError(`--timeout is ${JSON.stringify(timeout)}, which is not a number of seconds`)
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())
  const progress = startProgress('check', output === 'table')
  try {
    const report = await checkCluster(kubernetesApi(config.kubeconfig), loadKubeConfig(config.kubeconfig), {
      image,
      timeoutMs: seconds * 1000,
      signal: interrupted.signal,
      onStep: progress.step,
    })
    print(output, report, render)
    if (outcomes(report).includes('fails')) process.exitCode = 1
  } catch (error) {
    if (error instanceof ApiError && error.code === 403) throw new Error(`${error.message}; ${mayNot}`)
    throw error
  } finally {
    progress.stop()
  }
}

function outcomes({ cluster, nodes }: ClusterReport) {
  return [...cluster, ...nodes.flatMap(({ checks }) => checks)].map(({ outcome }) => outcome)
}

/** A line for each node, each finding once, and what comes next. */
export function render(report: ClusterReport): string {
  const { services, version, cluster, nodes } = report
  const beside = services === 'labelled' ? 'beside kube-proxy' : 'in place of kube-proxy'
  const rows = nodes.map(({ node, checks }) => {
    const bad = checks.filter(({ outcome }) => outcome === 'fails').length
    const warned = checks.filter(({ outcome }) => outcome === 'warning').length
    const found = (name: string) =>
      checks
        .filter(each => each.name === name)
        .map(({ outcome, found }) => (outcome === 'ok' ? found.replace(/^.* in (\d+ ms)$/, '$1') : 'no'))
        .join(', ') || '-'
    const result =
      bad > 0
        ? `${bad} of ${checks.length} checks fail`
        : warned > 0
          ? `well, ${warned} warning${warned === 1 ? '' : 's'}`
          : 'well'
    return [node, found('version'), found('request through Envoy'), found('request by the kernel layer'), result]
  })
  const details = findings([{ node: '', checks: cluster }, ...nodes])
  const sections = [
    paint('bold', `Lightpath ${version ?? ''} on ${nodes.length} nodes, ${beside}`.replace('  ', ' ')),
    table(['NODE', 'VERSION', 'THROUGH ENVOY', 'BY THE KERNEL', 'RESULT'], rows),
    ...details,
    verdict(report),
  ]
  return `${sections.join('\n\n')}\n`
}

function verdict(report: ClusterReport): string {
  const all = outcomes(report)
  if (all.includes('fails')) return 'Something is wrong: do what → says, from the top, and check again.'
  const well = all.includes('warning') ? 'Traffic flows; see the warnings.' : 'All is well.'
  const { services, portsInEnvoy, notHandedOver } = report
  const inEnvoy = `Service ports in Envoy: ${portsInEnvoy}.`
  if (services === 'all' || notHandedOver === 0) return `${well} ${inEnvoy} Next: lightpath top`
  return `${well} ${inEnvoy} Services that kube-proxy serves still: ${notHandedOver}.
Next: lightpath adopt lists them, lightpath adopt --yes NAMESPACE/NAME hands one over, lightpath top shows its traffic`
}
