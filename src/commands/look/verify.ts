import { familyNames } from '../../kernel/family.ts'
import { nftables } from '../../kernel/nftables/backend.ts'
import { fixedRules } from '../../kernel/nftables/rules/ruleset.ts'
import type { NftChain, NftTable } from '../../kernel/nftables/snapshot.ts'
import { findLeftovers } from '../../kernel/takeover.ts'
import type { IpFamily } from '../../net/address.ts'
import { createLog } from '../../observe/log.ts'
import { budgetOptions, EnvoyBudget } from '../../plan/envoy/budget.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { labels } from '../../services/labels.ts'
import { type Aspect, compareFrontends, type Difference } from '../../verify/compare.ts'
import { missingEntrances } from '../../verify/entrances.ts'
import type { Frontends } from '../../verify/frontends.ts'
import { readKubeProxy } from '../../verify/kube-proxy.ts'
import { readLightpath } from '../../verify/lightpath.ts'
import {
  compareWithKubeProxy,
  compareWithPlan,
  type Facts,
  lateServiceRanges,
  type NodeOptions,
  ofNode,
  podsOf,
} from '../../verify/node.ts'
import { probeUntilSettled, readTable } from '../../verify/probe.ts'
import { expectedFrontends } from '../../verify/wanted.ts'
import { ofAgent } from '../agent.ts'
import { type DecidedConfig, decideForNode, withClientAddress } from '../clientaddress.ts'
import { familiesOf } from '../families.ts'
import type { Config } from '../options.ts'
import { type Output, print } from '../output/print.ts'
import { paint, table } from '../output/table.ts'
import { requireNetAdmin } from '../privilege.ts'
import { followSource, patientlyMs, type Reading } from '../read.ts'
import { createSource } from '../source.ts'
import { UsageError } from '../usage.ts'

interface Verdict {
  readonly node: string
  readonly against: Side
  readonly services: number
  readonly frontends: number
  readonly differences: readonly Difference[]
  /** What kube-proxy itself has not done yet, and will. */
  readonly late: readonly string[]
}

const sides = ['kube-proxy', 'lightpath'] as const
type Side = (typeof sides)[number]

/**
 * Exit code 0 for no difference, 1 for some, 2 where nothing could be compared.
 *
 * @param against whose rules in the kernel are compared with those of Lightpath: kube-proxy's, or Lightpath's own
 */
export async function verify(given: Config, against: unknown, output: Output): Promise<void> {
  const config = withClientAddress(await ofAgent(given), (await decideForNode(given)).mode)
  const side = sides.find(name => name === against)
  if (!side) throw new UsageError(`--against is ${JSON.stringify(against)}, which is not ${sides.join(' or ')}`)
  const verdict = await compare(config, side).catch((error: Error) => {
    throw new UsageError(error.message)
  })
  print(output, verdict, render)
  process.exitCode = verdict.differences.length === 0 ? 0 : 1
}

async function compare(config: DecidedConfig, against: Side): Promise<Verdict> {
  const families = familiesOf(config)
  const source = await createSource(config, createLog('error'), patientlyMs)
  try {
    const scope = against === 'lightpath' ? config.services : 'all'
    const { facts, plan } = await followSource(source, config.nodeName, {
      scope,
      fatal: ['LP104', 'LP105'],
      timeoutMs: 60e3,
    })
    if (config.source === undefined && !plan.node) throw new Error(noNode(config.nodeName))
    let all: Frontends[] = []
    let late: readonly string[] = []
    const differences = await probeUntilSettled(async () => {
      const options = { ...config, families, ownsClusterIPs: scope === 'all' }
      const { node } = plan
      const { frontends, ofAll, lateRanges } = await readNode(
        options,
        { node, serviceRanges: facts.services.serviceRanges },
        against,
      )
      const tellsPods = families.filter(family => podsOf(family, node, options) !== undefined)
      const here = { name: config.nodeName, addresses: node?.addresses ?? [], tellsPods }
      const expected = expectedFrontends(statesOf({ facts, plan }, against), families, here, against)
      all = [frontends, expected]
      late = lateRanges
      return [...ofAll, ...compareFrontends(frontends, expected)]
    })
    const frontends = new Map(all.flatMap(each => [...each]))
    const compared = new Set([...frontends.values()].map(({ service }) => service).filter(service => service !== ''))
    return { node: config.nodeName, against, services: compared.size, frontends: frontends.size, differences, late }
  } finally {
    await source.stop()
  }
}

function noNode(name: string): string {
  return `there is no Node ${name} in the cluster; say with --node-name how the cluster calls this node`
}

/** kube-proxy ignores Services with a label that names another proxy. */
function statesOf({ facts, plan }: Pick<Reading, 'facts' | 'plan'>, against: Side): readonly PortState[] {
  const states = [...plan.states()]
  if (against === 'lightpath') return states
  return states.filter(
    state => facts.services.service(state.namespace, state.name)?.labels[labels.proxyName] === undefined,
  )
}

const readers = { 'kube-proxy': readKubeProxy, lightpath: readLightpath }

const absent: Readonly<Record<Side, string>> = {
  'kube-proxy':
    'this node has no nftables table kube-proxy: kube-proxy does not run here, runs in another mode than nftables, or its ' +
    "rules were taken away; nothing to compare with but Lightpath's own table (--against lightpath)",
  lightpath: 'this node has no nftables table lightpath: no agent has run here yet',
}

type Options = Omit<DecidedConfig, 'families'> & NodeOptions

/** Rejects where there is no such table in any family. */
async function readNode(options: Options, { node, serviceRanges }: Facts, against: Side) {
  requireNetAdmin('verify')
  const tables = await Promise.all(
    options.families.map(async family => ({ family, table: await readTable(family, against) })),
  )
  const found = tables.flatMap(({ family, table }) => (table ? [{ family, table }] : []))
  if (found.length === 0) throw new Error(absent[against])
  const leftovers = against === 'lightpath' ? await findLeftovers(nftables) : []
  const compareNode = against === 'kube-proxy' ? compareWithKubeProxy : compareWithPlan
  return {
    frontends: new Map(found.flatMap(({ family, table }) => [...readers[against](table, family)])),
    lateRanges:
      against === 'kube-proxy'
        ? found.flatMap(({ table, family }) => lateServiceRanges(table, family, { node, serviceRanges }, options))
        : [],
    ofAll: [
      ...leftovers.map(what =>
        ofNode(options.families[0]!, what, 'there', 'removed: lightpath cleanup, and start the agent'),
      ),
      ...found.flatMap(({ family, table }) => [
        ...compareNode(table, family, { node, serviceRanges }, options),
        ...(against === 'kube-proxy' ? missingEntrances(table) : missingRules(family, table, options)).map(chain =>
          ofNode(family, `chain ${chain}`, 'not the rules that it should have', 'its rules'),
        ),
      ]),
    ],
  }
}

/** The chains of our fixed part that have not as many rules as they should. */
function missingRules(family: IpFamily, { chains }: NftTable, options: Options): readonly string[] {
  const { followsUse: tracksUse } = new EnvoyBudget(
    budgetOptions({ ...options, tracksUse: nftables.capabilities.tracksUse }),
  )
  const expected = fixedRules(familyNames[family], { ...options, targetPort: options.redirectPort, tracksUse })
  const count = ({ hook, rules }: NftChain) => rules.length + (hook === undefined ? 0 : 1)
  const isWhole = ([name, lines]: readonly [string, number]) => {
    const chain = chains.get(name)
    return chain !== undefined && count(chain) === lines
  }
  return [...expected].filter(each => !isWhole(each)).map(([chain]) => chain)
}

export function render({ against, services, frontends, differences, late }: Verdict): string {
  const rows = differences.map(({ service, port, frontend, what, found, expected }) => [
    port === '' ? service : `${service || '?'}/${port}`,
    frontend,
    what,
    show(found, expected),
    show(expected, found),
  ])
  const notYet =
    late.length === 0 ? '' : `; kube-proxy has ServiceCIDR ${late.join(', ')} in its rules from its next full sync on`
  const count = `${services} Services compared in ${frontends} frontends, ${differences.length} differences${notYet}\n`
  if (rows.length === 0) return count
  const columns = against === 'kube-proxy' ? ['KUBE-PROXY', 'LIGHTPATH'] : ['IN THE KERNEL', 'AS IT SHOULD BE']
  const header = ['SERVICE PORT', 'FRONTEND', 'WHAT', ...columns]
  return `${table(header, rows)}\n\n${paint('bold', count)}`
}

/** How many entries of a list are shown; the rest is counted. */
const maxShown = 5

/** Shows what the other side lacks of a list. */
function show(aspect: Aspect, other: Aspect): string {
  if (typeof aspect === 'string') return aspect
  const own = typeof other === 'string' ? aspect : aspect.filter(entry => !other.includes(entry))
  const common = aspect.length - own.length
  const more = own.length > maxShown ? [`${own.length - maxShown} more`] : []
  const same = common > 0 ? [`${common} that both have`] : []
  return [...own.slice(0, maxShown), ...more, ...same].join(', ') || 'none'
}
