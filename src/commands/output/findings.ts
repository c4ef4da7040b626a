import type { Check } from '../../preflight/check.ts'
import { paint } from './table.ts'

const colours = { ok: 'green', warning: 'yellow', fails: 'red' } as const

/** Each finding once, with the nodes that have it; failures before warnings. */
export function findings(
  reports: readonly { readonly node: string; readonly checks: readonly Check[] }[],
): readonly string[] {
  const found = reports.flatMap(({ node, checks }) =>
    checks.filter(({ outcome }) => outcome !== 'ok').map(check => ({ node, check })),
  )
  const same = Map.groupBy(found, ({ check: { name, outcome, found, remedy } }) =>
    [outcome, name, found, remedy].join('\n'),
  )
  return [...same.values()]
    .sort(([a], [b]) => (a!.check.outcome < b!.check.outcome ? -1 : 1))
    .map(all => {
      const { outcome, name, found, remedy } = all[0]!.check
      const nodes = all.map(({ node }) => node).filter(node => node !== '')
      return [
        `${paint(colours[outcome], outcome)}  ${name}: ${found}`,
        ...(nodes.length > 0 ? [`  nodes: ${nodes.join(', ')}`] : []),
        ...(remedy === undefined ? [] : [`  → ${remedy}`]),
      ].join('\n')
    })
}
