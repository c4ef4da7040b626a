/** Reports whether people have switched this node's overlay off in the kernel (`lightpath overlay off`). */

import type { IpFamily } from '../../net/address.ts'
import { type Problem, problem } from '../../services/problem.ts'

export interface OverlaySwitchOptions {
  readonly nodeName: string
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
}

export class OverlaySwitch {
  readonly #options: OverlaySwitchOptions
  readonly #off = new Set<IpFamily>()

  constructor(options: OverlaySwitchOptions) {
    this.#options = options
  }

  /** Whether it is off in any family. */
  get isOff(): boolean {
    return this.#off.size > 0
  }

  set(family: IpFamily, isOff: boolean): void {
    if (this.#off.has(family) === isOff) return
    if (isOff) this.#off.add(family)
    else this.#off.delete(family)
    this.#options.onProblems('overlay switch', this.isOff ? [offProblem(this.#options.nodeName)] : [])
  }
}

function offProblem(nodeName: string): Problem {
  const reason = 'people have switched the overlay off: the kernel layer serves all new connections'
  return problem('LP408', `Node ${nodeName}`, reason, '`lightpath overlay on` on the node brings it back')
}
