/** Counts what goes on at frontends in Envoy: which still have connections or requests. */

import type { Activity } from '../../envoy/program/admin.ts'
import { externalId } from '../../envoy/resources/frontend.ts'
import type { FrontendActivity } from './drains.ts'
import type { PublishedFrontends } from './published.ts'

/**
 * Connections of a listener that another frontend has taken over are not counted apart: they may last the whole drain
 * time.
 */
export function activityOf(id: string, published: PublishedFrontends, all: Activity): FrontendActivity {
  const listeners = published.listenersOf(id)
  const open = listeners?.reduce((sum, name) => sum + all.connections(name), 0) ?? 1
  return { open: open + all.requests(id), answers: all.answers(id) }
}

/** The activity of a port over all its frontends. */
export function activityOfPort(id: string, published: PublishedFrontends, all: Activity): FrontendActivity {
  const each = [id, externalId(id)].filter(one => published.has(one)).map(one => activityOf(one, published, all))
  const sum = (of: (one: FrontendActivity) => number) => each.reduce((total, one) => total + of(one), 0)
  return { open: sum(({ open }) => open), answers: sum(({ answers }) => answers) }
}
