/** Whether the Envoys of this node have Lightpath's module, which balances by latency and keeps half-open connections. */

import { lbPolicyOf } from '../../envoy/resources/cluster/loadbalancing.ts'
import type { Frontend } from '../../envoy/resources/frontend.ts'
import type { NodeOptions } from '../../envoy/resources/listener.ts'
import type { Problem } from '../../services/problem.ts'
import type { PublishedFrontends } from '../lifecycle/published.ts'
import { moduleProblem } from './envoyproblems.ts'
import type { Envoys } from './envoys.ts'

export interface EnvoyModuleOptions {
  readonly nodeName: string
  readonly envoys: Pick<Envoys, 'all' | 'haveModule'>
  readonly published: PublishedFrontends
  /** The directory in which the module of an Envoy keeps what it observes of endpoints. */
  readonly latencyDirectory: string
  readonly setNode: (node: NodeOptions) => void
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
}

export function moduleOptions(
  hasModule: boolean,
  { latencyDirectory }: Pick<EnvoyModuleOptions, 'latencyDirectory'>,
): NodeOptions {
  return { hasModule, latencies: hasModule ? latencyDirectory : undefined }
}

export class EnvoyModule {
  readonly #options: EnvoyModuleOptions

  constructor(options: EnvoyModuleOptions) {
    this.#options = options
  }

  /** An Envoy came or went. The module is used where all Envoys have it: one without it rejects what names it. */
  review(): void {
    const { envoys, published, latencyDirectory, setNode } = this.#options
    const hasModule = envoys.haveModule
    if (hasModule !== published.options.hasModule) setNode(moduleOptions(hasModule, { latencyDirectory }))
    this.#report()
  }

  /** These were published to Envoy. */
  published(frontends: readonly Frontend[]): void {
    if (frontends.some(({ settings }) => settings.lbPolicy === 'PEAK_EWMA')) this.#report()
  }

  #report(): void {
    const { envoys, published, nodeName, onProblems } = this.#options
    const frontends = [...published.entries()].map(([, { frontend }]) => frontend)
    const without = frontends.filter(frontend => lbPolicyOf(frontend, published.options).instead === 'module')
    const isKnown = envoys.all.length > 0
    onProblems('Envoy module', isKnown && without.length > 0 ? [moduleProblem(nodeName, without)] : [])
  }
}
