/** The pods of an installation, node by node. */

import type { KubeConfig } from '../sources/kube-config.ts'
import { type Raw, rawList, rawObject } from '../text/raw.ts'
import type { Ask } from './api.ts'
import { type ExecOptions, execIn } from './exec.ts'
import { list } from './list.ts'
import { namespace } from './namespace.ts'
import { isReady } from './objects.ts'

export interface OurPod {
  readonly node: string
  readonly name: string
  readonly isReady: boolean
  /** Of the last container that waits or has failed, such as `CrashLoopBackOff: …`; else the phase. */
  readonly state: string
  /** It is being deleted. */
  readonly leaves: boolean
  readonly image: string
}

/** Of the agents (`node`) or the Envoys (`proxy`). */
export async function podsOf(ask: Ask, component: 'node' | 'proxy'): Promise<readonly OurPod[]> {
  const selector = encodeURIComponent(`app.kubernetes.io/name=lightpath,app.kubernetes.io/component=${component}`)
  const pods = await list(ask, `/api/v1/namespaces/${namespace}/pods`, `labelSelector=${selector}`)
  return pods.map(podOf)
}

function podOf(pod: Raw): OurPod {
  const { metadata, spec, status } = pod
  const { name, deletionTimestamp } = rawObject(metadata)
  const { nodeName, containers } = rawObject(spec)
  const { containerStatuses, phase } = rawObject(status)
  const states = rawList(containerStatuses).map(each => rawObject(rawObject(each).state))
  const wrong = states
    .map(({ waiting, terminated }) => rawObject(waiting ?? terminated))
    .findLast(({ reason }) => reason)
  const text = [wrong?.reason, wrong?.message].filter(part => typeof part === 'string').join(': ')
  return {
    node: String(nodeName ?? ''),
    name: String(name),
    isReady: isReady(pod),
    state: text || String(phase ?? 'Pending'),
    leaves: deletionTimestamp !== undefined,
    image: String(rawObject(rawList(containers)[0]).image),
  }
}

/** Runs `lightpath` with these arguments beside an agent. Throws as `execIn`, and where it fails what it says. */
export async function execInAgent(
  config: KubeConfig,
  pod: string,
  args: readonly string[],
  options: ExecOptions,
): Promise<void> {
  const { code, stderr } = await execIn(config, { namespace, pod, container: 'node' }, ['lightpath', ...args], options)
  if (code !== 0) throw new Error(stderr.trim() || `lightpath ${args[0]} ended with code ${code}`)
}
