import { createLog } from '../observe/log.ts'
import type { IpFamily } from '../services/address.ts'
import { type Aspect, compareWays, type Difference } from '../verify/compare.ts'
import { missingEntrances, readKubeProxy } from '../verify/kube-proxy.ts'
import { kubeProxyTable, lookUntilSettled, readTable } from '../verify/look.ts'
import { waysOf } from '../verify/wanted.ts'
import type { Ways } from '../verify/ways.ts'
import { familiesOf } from './bootstrap.ts'
import type { Config } from './options.ts'
import { createSource } from './source.ts'
import { paint, table } from './table.ts'
import { UsageError } from './usage.ts'
import { watchServices } from './watch.ts'

interface Verdict {
  readonly node: string
  readonly services: number
  readonly waysIn: number
  readonly differences: readonly Difference[]
}

/** Exit code 0 for no difference, 1 for some, 2 where nothing could be compared. */
export async function verify(config: Config, output: 'table' | 'json'): Promise<void> {
  const verdict = await compare(config).catch((error: Error) => {
    throw new UsageError(error.message)
  })
  process.stdout.write(output === 'json' ? `${JSON.stringify(verdict, undefined, 2)}\n` : render(verdict))
  process.exitCode = verdict.differences.length === 0 ? 0 : 1
}

async function compare(config: Config): Promise<Verdict> {
  const families = familiesOf(config)
  const source = await createSource(config, createLog('error'))
  try {
    const watched = await watchServices(source, config.nodeName)
    let all: Ways[] = []
    const differences = await lookUntilSettled(async () => {
      const { ways, lacking } = await readNode(families)
      const node = { name: config.nodeName, addresses: watched.nodeAddresses() }
      const expected = waysOf(watched.states(), families, node)
      all = [ways, expected]
      return [...lacking, ...compareWays(ways, expected)]
    })
    const ways = new Map(all.flatMap(each => [...each]))
    const services = new Set([...ways.values()].map(({ service }) => service).filter(service => service !== ''))
    return { node: config.nodeName, services: services.size, waysIn: ways.size, differences }
  } finally {
    await source.stop()
  }
}

/** Rejects where kube-proxy has no table in any family. */
async function readNode(families: readonly IpFamily[]) {
  const tables = await Promise.all(
    families.map(async family => ({ family, table: await readTable(family, kubeProxyTable) })),
  )
  const found = tables.flatMap(({ family, table }) => (table ? [{ family, table }] : []))
  if (found.length === 0) {
    throw new Error(
      `this node has no nftables table ${kubeProxyTable}: kube-proxy does not run here, runs in another mode than ` +
        'nftables, or its rules were taken away; nothing to compare with',
    )
  }
  return {
    ways: new Map(found.flatMap(({ family, table }) => [...readKubeProxy(table, family)])),
    lacking: found.flatMap(({ family, table }) => missingEntrances(table).map(chain => lackingChain(family, chain))),
  }
}

function lackingChain(family: IpFamily, chain: string): Difference {
  const way = `every way in (${family})`
  return {
    service: '(all)',
    port: '',
    way,
    what: `chain ${chain}`,
    found: 'lacks its rules',
    expected: 'as kube-proxy makes it',
  }
}

function render({ services, waysIn, differences }: Verdict): string {
  const rows = differences.map(({ service, port, way, what, found, expected }) => [
    port === '' ? service : `${service}/${port}`,
    way,
    what,
    show(found, expected),
    show(expected, found),
  ])
  const count = `${services} Services compared in ${waysIn} ways in, ${differences.length} differences\n`
  if (rows.length === 0) return count
  const header = ['SERVICE PORT', 'WAY IN', 'WHAT', 'KUBE-PROXY', 'LIGHTPATH']
  return `${table(header, rows)}\n\n${paint('bold', count)}`
}

/** How many entries of a list are shown; the rest is counted. */
const maxShown = 5

/** Of a list what the other side lacks. */
function show(aspect: Aspect, other: Aspect): string {
  if (typeof aspect === 'string') return aspect
  const own = typeof other === 'string' ? aspect : aspect.filter(entry => !other.includes(entry))
  const common = aspect.length - own.length
  const more = own.length > maxShown ? [`${own.length - maxShown} more`] : []
  const same = common > 0 ? [`${common} that both have`] : []
  return [...own.slice(0, maxShown), ...more, ...same].join(', ') || 'none'
}
