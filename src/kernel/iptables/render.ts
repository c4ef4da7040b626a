/** All rules and sets as one text, for people and for tests. */

import type { PortState } from '../../plan/ports/port.ts'
import { familiesOf } from '../family.ts'
import { unknownNode } from '../nodeconfig.ts'
import type { NodePlanOptions, PlanOptions, RulesetOptions } from '../options.ts'
import { meantForEnvoy } from '../overlay.ts'
import { batchOf, Members, renderBatch } from './batch.ts'
import { renderSets } from './chains.ts'
import { renderFixedPart } from './install.ts'
import { planNode, planPort } from './ports.ts'
import { programNames } from './programs.ts'
import { noRules } from './saved.ts'

/**
 * Renders what a node has in the kernel for these ports once Envoy has acknowledged all that are meant for it, for a
 * machine that has nothing of it yet. A comment before each part names the program that loads it.
 */
export function renderRules(
  states: readonly PortState[],
  options: PlanOptions & NodePlanOptions & RulesetOptions,
  sharesListener: (state: PortState) => boolean,
): string {
  const families = familiesOf(options.families)
  const served = states.filter(({ family }) => options.families.includes(family))
  const rules = [
    planNode(unknownNode, options),
    ...served.map(state => planPort(state, meantForEnvoy(state, sharesListener), options)),
  ]
  const batch = batchOf(
    rules.map(after => ({ before: undefined, after })),
    new Members(),
  )
  const { first, rules: ofPorts, last } = renderBatch(batch, families)
  return [
    part('ipset -exist restore', families.map(renderSets).join('') + first),
    ...families.flatMap(family => [
      part(`${programNames[family]}-restore --noflush`, renderFixedPart(family, noRules, options)),
      part(`${programNames[family]}-restore --noflush`, ofPorts.get(family)!),
    ]),
    part('ipset -exist restore', last),
  ].join('')
}

function part(program: string, text: string): string {
  return text === '' ? '' : `# ${program}\n${text}`
}
