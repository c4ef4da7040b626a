/** A point of the demo: something that Lightpath does, shown with real traffic. */

import type { Show } from '../show.ts'
import type { Stage } from '../stage.ts'

export interface Point {
  readonly title: string
  /** One line, before it is shown. */
  readonly explanation: string
  /** Shows it, and returns in a line what was seen. Throws when it did not come out so. */
  run(stage: Stage, show: Show): Promise<string>
}

/** Ends the point as failed, with the reason, unless the condition holds. */
export function expect(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new Error(reason)
}
