/** One requirement of Lightpath on a node or cluster, and whether it is met. */

export interface Check {
  /** What was checked, in a few words. */
  readonly name: string
  /** `warning`: it works, with less or with care; `fails`: traffic would break, or Lightpath cannot work. */
  readonly outcome: 'ok' | 'warning' | 'fails'
  readonly found: string
  /** What to do; undefined where nothing is to be done. */
  readonly remedy?: string
}

export function ok(name: string, found: string): Check {
  return { name, outcome: 'ok', found }
}

export function warning(name: string, found: string, remedy: string): Check {
  return { name, outcome: 'warning', found, remedy }
}

export function fails(name: string, found: string, remedy: string): Check {
  return { name, outcome: 'fails', found, remedy }
}
