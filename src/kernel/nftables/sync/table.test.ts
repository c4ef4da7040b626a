import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { placesOf } from '../../../plan/ports/places.ts'
import type { External, PortState } from '../../../plan/ports/port.ts'
import type { Problem } from '../../../services/problem.ts'
import type { Family } from '../../family.ts'
import type { Flush, SyncResult } from '../../layer.ts'
import { noPolicies, unknownNode } from '../../nodeconfig.ts'
import type { VipPort } from '../../overlay.ts'
import { CommandError } from '../../system/command.ts'
import { adding, inWords, portState, testOptions } from '../../testing/states.ts'
import { NftablesModel } from '../../tracer/model.ts'
import { addressPortBytes } from '../bytes.ts'
import { type NftClient, type TableReader, TransactionRefused } from '../client.ts'
import { type ElementName, heartbeatSet, overlaySets, ownerOf, setCode } from '../elements/elements.ts'
import { planNode } from '../elements/node.ts'
import { placementOf, planPort, portKeys } from '../elements/plan.ts'
import { keyText, typesOf, valueText } from '../elements/values.ts'
import { type Operation, operationsText } from '../operations.ts'
import { tableOf } from '../rules/ruleset.ts'
import { KernelTables } from './table.ts'

/** The kernel as an interpreter of what it is given. */
class ModelNft implements NftClient {
  model = new NftablesModel()
  /** Of transactions, for people. */
  readonly texts: string[] = []
  /** Whether an element, such as `services { 10.0.0.1 . tcp . 80 : drop }`, is refused. */
  refuses: (text: string) => boolean = () => false
  missing = false
  /** It says which elements it refuses; else only that there are some. */
  isExact = true

  async apply(operations: readonly Operation[]): Promise<number> {
    this.#check()
    const names = operations.flatMap(operation => this.#refused(operation))
    if (names.length > 0) throw this.#refusal(names, operations)
    const attempt = this.model.copy()
    try {
      attempt.apply(operations)
    } catch (error) {
      throw new TransactionRefused({ message: (error as Error).message, code: 'ENOENT', names: [], isExact: true })
    }
    this.model = attempt
    if (!operations.every(isOfHeartbeat)) this.texts.push(operationsText(operations))
    return 1
  }

  async chains(family: Family) {
    this.#check()
    return this.model.chainNames(family)
  }

  async sets(family: Family) {
    this.#check()
    return this.model.setNames(family)
  }

  async hasChain(family: Family, chain: string) {
    return (await this.chains(family)).includes(chain)
  }

  async read(family: Family, reader: TableReader) {
    this.#check()
    return this.model.read(family, reader)
  }

  async remaining() {
    return undefined
  }

  async keys(family: Family, set: string) {
    this.#check()
    return this.model.keys(family, set)
  }

  close() {}

  #refused(operation: Operation): readonly ElementName[] {
    if (operation.do !== 'add' && operation.do !== 'delete') return []
    const types = typesOf(operation.table.family, operation.set)
    const refused = operation.elements.filter(({ key, value }) => {
      return this.refuses(`${operation.set.name} { ${keyText(types, key)} : ${valueText(types, value)} }`)
    })
    return namesIn({ ...operation, elements: refused })
  }

  #refusal(refused: readonly string[], operations: readonly Operation[]): TransactionRefused {
    const all = operations.flatMap(operation => {
      if (operation.do !== 'add' && operation.do !== 'delete') return []
      return namesIn(operation)
    })
    const names = this.isExact ? refused : all
    return new TransactionRefused({ message: 'EINVAL', code: 'EINVAL', names, isExact: this.isExact })
  }

  #check(): void {
    if (this.missing) throw new CommandError('nf_tables', 'permission', 'socket: EPERM')
  }
}

function isOfHeartbeat(operation: Operation): boolean {
  return operation.do === 'flush set'
    ? operation.name === heartbeatSet
    : 'set' in operation && operation.set.name === heartbeatSet
}

function namesIn({ table, set, elements }: Extract<Operation, { do: 'add' | 'delete' }>): readonly ElementName[] {
  const code = setCode(table.family, set.name)
  return code === undefined ? [] : elements.map(({ key }) => code + key)
}

class Agent {
  readonly nft: ModelNft
  readonly flushes: Flush[] = []
  onFlush: (() => void) | undefined
  readonly results: SyncResult[] = []
  readonly problems = new Map<string, readonly Problem[]>()
  readonly tables: KernelTables

  constructor(nft = new ModelNft()) {
    this.nft = nft
    this.tables = new KernelTables(
      testOptions,
      {
        flushed: flush => {
          this.flushes.push(flush)
          this.onFlush?.()
        },
        syncResult: result => void this.results.push(result),
        problems: (origin, problems) =>
          void (problems.length === 0 ? this.problems.delete(origin) : this.problems.set(origin, problems)),
      },
      {
        nft,
        ensureRouting: async () => false,
        watchTables: () => () => {},
        watchRouting: () => () => {},
        removeStaleUdp: async () => [],
        close: () => {},
      },
    )
  }

  async run(states: readonly PortState[] = []) {
    const inherited = await this.tables.start()
    for (const state of states) this.tables.setPort(state)
    this.tables.synced()
    await this.tables.settled()
    return inherited
  }
}

/** Elements with the slots of a port in any order: `endpoints-tcp` values are sorted. */
function unordered(elements: ReadonlyMap<string, string>): string[] {
  return [...elements]
    .map(([name, value]) =>
      name.includes(' endpoints-') ? `${name.replace(/\d+$/, '*')} ${value}` : `${name} ${value}`,
    )
    .toSorted()
}

/** Lists the VIP:port and the external addresses. */
function overlayPlaces(state: PortState): readonly VipPort[] {
  return [{ ip: state.vip, port: state.port.port }, ...placesOf(state).map(({ ip, port }) => ({ ip, port }))]
}

function overlayKeysOf(state: PortState): readonly string[] {
  return overlayPlaces(state).map(addressPortBytes)
}

function wanted(states: Iterable<PortState>, overlay: ReadonlySet<string> = new Set()): string[] {
  const elements = new Map(planNode(unknownNode, testOptions))
  for (const state of states) {
    const redirected = overlayKeysOf(state).filter(key => overlay.has(key))
    for (const [name, value] of planPort(placementOf(state, redirected), testOptions)) elements.set(name, value)
  }
  return [...inWords(elements)]
    .map(([name, value]) =>
      name.includes(' endpoints-') ? `${name.replace(/\d+$/, '*')} ${value}` : `${name} ${value}`,
    )
    .toSorted()
}

const web = portState('a/web/http', '10.0.0.1', ['10.1.0.1:80@node1', '10.1.0.2:80@node2', '10.1.0.3:80@node2'])
const dns = portState('a/dns/53', '10.0.0.2', ['10.1.0.1:53@node1'], { port: { name: '', protocol: 'UDP', port: 53 } })

test('Nothing is written of Services before the source has synced', async () => {
  const { tables, nft } = new Agent()
  await tables.start()
  tables.setPort(web)
  await tables.settled()
  assert.deepEqual(nft.model.elements(), new Map())
  await tables.close()
})

test('Pods that stay in the kernel layer are written before the overlay, edited one by one, and kept over a restart', async () => {
  const first = new Agent()
  first.tables.setPolicies({ ...noPolicies, clients: ['10.1.9.1', 'fd00::9:1'] })
  first.tables.setOverlay([{ ip: '10.0.0.1', port: 80 }], true)
  await first.run([web])
  const clients = ({ nft }: Agent) => [...nft.model.elements().keys()].filter(name => name.includes('kernel-clients'))
  assert.deepEqual(clients(first), ['ip kernel-clients 10.1.9.1', 'ip6 kernel-clients fd00::9:1'])
  const [clientsWritten, overlayWritten] = ['kernel-clients { 10.1.9.1 }', ' envoy { 10.0.0.1'].map(text =>
    first.nft.texts.findIndex(written => written.includes(text)),
  )
  assert.ok(clientsWritten! < overlayWritten!)
  const written = first.nft.texts.length
  first.tables.setPolicies({ ...noPolicies, clients: ['10.1.9.1', '10.1.9.2'] })
  await first.tables.settled()
  assert.deepEqual(first.nft.texts.slice(written), [
    'delete element ip6 lightpath kernel-clients { fd00::9:1 }\nadd element ip lightpath kernel-clients { 10.1.9.2 }\n',
  ])
  await first.tables.close()

  const second = new Agent(first.nft)
  second.tables.setPolicies({ ...noPolicies, clients: ['10.1.9.2'] })
  await second.run([web])
  assert.deepEqual(clients(second), ['ip kernel-clients 10.1.9.2'])
  await second.tables.close()
})

test('A restart that finds all as it should be writes nothing', async () => {
  const first = new Agent()
  await first.run([web, dns])
  first.tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
  await first.tables.settled()
  first.tables.setPort(web)
  first.tables.setOverlay([{ ip: '10.0.0.1', port: 80 }], true)
  await first.tables.settled()
  await first.tables.close()
  const written = first.nft.texts.length
  const second = new Agent(first.nft)
  assert.deepEqual(await second.run([web, dns]), [{ ip: '10.0.0.1', port: 80 }])
  assert.equal(first.nft.texts.length, written)
  await second.tables.close()
})

test('What a previous run left of Services that are gone is removed once the source has synced, not before', async () => {
  const first = new Agent()
  await first.run([web, dns])
  await first.tables.close()
  const second = new Agent(first.nft)
  await second.tables.start()
  assert.deepEqual(unordered(first.nft.model.elements()), wanted([web, dns]))
  await second.run([dns])
  assert.deepEqual(unordered(first.nft.model.elements()), wanted([dns]))
  await second.tables.close()
})

test('Overlay entries of a previous run stay until they are confirmed or dropped', async () => {
  const first = new Agent()
  await first.run([web])
  first.tables.setOverlay([{ ip: '10.0.0.1', port: 80 }], true)
  await first.tables.settled()
  await first.tables.close()
  const { tables, nft, run } = bound(new Agent(first.nft))
  await run([web])
  assert.ok(nft.model.elements().has('ip envoy 10.0.0.1 . 80'))
  tables.dropInheritedOverlay()
  await tables.settled()
  assert.ok(!nft.model.elements().has('ip envoy 10.0.0.1 . 80'))
  await tables.close()
})

function bound(agent: Agent) {
  return { tables: agent.tables, nft: agent.nft, run: agent.run.bind(agent) }
}

test('The fixed part of another version is replaced in one transaction, and the elements stay', async () => {
  const first = new Agent()
  await first.run([web])
  await first.tables.close()
  const before = first.nft.model.elements()
  const marker = first.nft.model.chainNames('ip').find(name => name.startsWith('ruleset-'))!
  const table = tableOf('ip')
  first.nft.model.apply([
    { do: 'delete chain', table, name: marker },
    { do: 'declare', table, sets: [], chains: [{ name: 'ruleset-older', rules: [] }] },
  ])
  first.nft.texts.length = 0
  const { tables, nft, run } = bound(new Agent(first.nft))
  await run([web])
  assert.equal(nft.texts.length, 1)
  assert.deepEqual(nft.model.elements(), before)
  assert.ok(nft.model.chainNames('ip').includes(marker))
  assert.ok(!nft.model.chainNames('ip').includes('ruleset-older'))
  await tables.close()
})

for (const isExact of [true, false]) {
  test(`A port that the kernel refuses holds up no other, is reported by name, and is written once it can be: ${isExact}`, async () => {
    const agent = new Agent()
    agent.nft.isExact = isExact
    agent.nft.refuses = text => text.includes('10.0.0.66')
    const bad = portState('a/bad/http', '10.0.0.66', ['10.1.0.1:80'])
    const good = Array.from({ length: 20 }, (_, n) => portState(`a/s${n}/http`, `10.0.1.${n}`, ['10.1.0.1:80@node1']))
    await agent.run([...good.slice(0, 7), bad, ...good.slice(7)])
    assert.deepEqual(unordered(agent.nft.model.elements()), wanted(good))
    assert.deepEqual(
      agent.problems.get('kernel a/bad/http')?.map(({ code, object }) => ({ code, object })),
      [{ code: 'LP401', object: 'Service a/bad' }],
    )
    agent.nft.refuses = () => false
    agent.tables.setPort(bad)
    await agent.tables.settled()
    assert.deepEqual(unordered(agent.nft.model.elements()), wanted([...good, bad]))
    assert.equal(agent.problems.size, 0)
    await agent.tables.close()
  })
}

test('A port that cannot be changed keeps what it has', async () => {
  const agent = new Agent()
  await agent.run([web, dns])
  agent.nft.refuses = text => text.includes('10.1.0.66')
  agent.tables.setPort({ ...web, endpoints: [{ ip: '10.1.0.66', port: 80 }] })
  await agent.tables.settled()
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web, dns]))
  assert.equal(agent.tables.snapshot(web.id)?.problem?.code, 'LP401')
  await agent.tables.close()
})

test('A port that goes while another is refused is gone, and what comes after is written', async () => {
  const agent = new Agent()
  await agent.run([web, dns])
  agent.nft.refuses = text => text.includes('10.1.0.66')
  agent.tables.setPort({ ...web, endpoints: [{ ip: '10.1.0.66', port: 80 }] })
  agent.tables.removePort(dns.id)
  await agent.tables.settled()
  const next = portState('a/next/http', '10.0.0.3', ['10.1.0.1:80@node1'])
  agent.tables.setPort(next)
  await agent.tables.settled()
  const services = [...agent.nft.model.elements().keys()].filter(name => name.startsWith('ip services '))
  assert.deepEqual(services.sort(), ['ip services 10.0.0.1 . tcp . 80', 'ip services 10.0.0.3 . tcp . 80'])
  assert.deepEqual([...agent.problems.keys()], [`kernel ${web.id}`])
  await agent.tables.close()
})

test('Without the right to write nothing crashes; it is reported, and all is written when it may be', async () => {
  const agent = new Agent()
  agent.nft.missing = true
  await agent.tables.start()
  agent.tables.setPort(web)
  agent.tables.synced()
  const [problem] = agent.problems.get('kernel')!
  assert.equal(problem!.code, 'LP401')
  assert.match(problem!.remedy, /CAP_NET_ADMIN/)
  agent.nft.missing = false
  await agent.tables.settled()
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web]))
  assert.equal(agent.problems.size, 0)
  await agent.tables.close()
})

test('External addresses in the overlay outlive the agent, are emptied with it, and are not looked for after that', async () => {
  for (const count of [1, 2]) {
    const web = withOutside(stateOf(2, [1, 2]), 2, count)
    const places = overlayPlaces(web)
    let agent = new Agent()
    await agent.run([web])
    agent.tables.setOverlay(places, true)
    await agent.tables.settled()
    await agent.tables.close()
    agent = new Agent(agent.nft)
    const inherited = await agent.run([web])
    assert.deepEqual(inherited.map(addressPortBytes).toSorted(), overlayKeysOf(web).toSorted())
    const inOverlay = () => [...agent.tables.totals.keys()].filter(name => name.startsWith('ip envoy'))
    assert.equal(inOverlay().length, 2)
    agent.nft.texts.length = 0
    agent.tables.clearOverlay()
    await agent.tables.settled()
    agent.tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
    await agent.tables.settled()
    assert.doesNotMatch(agent.nft.texts.slice(1).join(''), / envoy/)
    assert.deepEqual(inOverlay(), [])
    assert.ok(agent.results.every(({ ok }) => ok))
    await agent.tables.close()
  }
})

test('The overlay is emptied by one transaction that comes first', async () => {
  const agent = new Agent()
  await agent.run([web, dns])
  agent.tables.setOverlay([{ ip: '10.0.0.1', port: 80 }], true)
  await agent.tables.settled()
  agent.nft.texts.length = 0
  agent.tables.removePort(dns.id)
  agent.tables.clearOverlay()
  await agent.tables.settled()
  const sets = ['ip', 'ip6'].flatMap(family => overlaySets.map(set => `flush set ${family} lightpath ${set}\n`))
  assert.equal(agent.nft.texts[0], sets.join(''))
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web]))
  await agent.tables.close()
})

test('A Service that comes back enters the overlay only when it is put there again', async () => {
  const agent = new Agent()
  await agent.run([web])
  agent.tables.setOverlay([{ ip: '10.0.0.1', port: 80 }], true)
  agent.tables.removePort(web.id)
  agent.tables.setPort(web)
  await agent.tables.settled()
  assert.deepEqual(unordered(agent.nft.model.elements()), wanted([web]))
  await agent.tables.close()
})

test('One endpoint of 5,000 that leaves costs a handful of elements', async () => {
  const agent = new Agent()
  const endpoints = Array.from({ length: 5000 }, (_, n) => `10.1.${n >> 8}.${n & 255}:80@node2`)
  await agent.run([portState('a/big/http', '10.0.0.1', endpoints)])
  agent.tables.setPort(portState('a/big/http', '10.0.0.1', endpoints.toSpliced(1234, 1)))
  await agent.tables.settled()
  const { added, removed } = agent.flushes.at(-1)!
  assert.deepEqual({ added, removed }, { added: 2, removed: 3 })
  await agent.tables.close()
})

test('A change of another Service waits for one batch of the 3,000 changed ports of one, not for all', async () => {
  const agent = new Agent()
  const ports = (endpoint: string) =>
    Array.from({ length: 3000 }, (_, n) =>
      portState(`a/many/p${n}`, '10.0.0.99', [endpoint], { port: { name: `p${n}`, protocol: 'TCP', port: n + 1 } }),
    )
  await agent.run([...ports('10.1.0.1:80@node2'), web])
  agent.flushes.length = 0
  agent.onFlush = () => {
    agent.onFlush = undefined
    agent.tables.setPort({ ...web, endpoints: [] })
  }
  for (const state of ports('10.1.0.2:80@node2')) agent.tables.setPort(state)
  await agent.tables.settled()
  assert.ok(agent.flushes.length > 3)
  assert.equal(
    agent.flushes.findIndex(({ ports }) => ports.includes(web.id)),
    1,
  )
  await agent.tables.close()
})

test('The switch of the overlay is left alone', async () => {
  const agent = new Agent()
  await agent.run([web])
  agent.nft.model.apply([adding('ip', 'overlay_off', 'ip')])
  await agent.tables.close()
  const { tables, nft, run } = bound(new Agent(agent.nft))
  await run([])
  assert.ok(nft.model.elements().has('ip overlay_off ip'))
  await tables.close()
})

test('Sets of source ranges of an earlier version go with its rules', async () => {
  const agent = new Agent()
  const table = { family: 'ip', name: 'lightpath' } as const
  const sets = ['restricted', 'allowed-sources'].map(name => ({ name, key: ['address'] }) as const)
  agent.nft.model.apply([{ do: 'declare', table, sets, chains: [{ name: 'ruleset-old', rules: [] }] }])
  await agent.run([web])
  assert.ok(!agent.nft.model.setNames('ip').some(name => name === 'restricted' || name === 'allowed-sources'))
  await agent.tables.close()
})

test('Source ranges are in a set of their frontend, which goes as a whole', async () => {
  const agent = new Agent()
  const outside = withOutside(web, 1, 4)
  await agent.run([outside])
  const own = 'ranges-192.0.2.1-tcp-80'
  assert.ok(agent.nft.model.setNames('ip').includes(own))
  const before = agent.nft.texts.length
  agent.tables.setPort({ ...outside, external: undefined })
  await agent.tables.settled()
  assert.ok(!agent.nft.model.setNames('ip').includes(own))
  const texts = agent.nft.texts.slice(before).join('')
  assert.match(texts, new RegExp(`delete set ip lightpath ${own}`))
  assert.doesNotMatch(texts, new RegExp(`element ip lightpath ${own}`))
  await agent.tables.close()
})

test('A range that holds the address of this node admits its packets from a load-balancer IP, once that is known', async () => {
  const agent = new Agent()
  const outside = withOutside(web, 1, 4)
  await agent.run([outside])
  const own = () => agent.nft.model.elements().has('ip source-ranges 192.0.2.1 . tcp . 80 . 192.0.2.1')
  assert.equal(own(), false)
  agent.tables.setNode({ addresses: ['10.9.9.9'], podCidrs: [] })
  await agent.tables.settled()
  assert.equal(own(), true)
  agent.tables.setNode({ addresses: ['172.30.0.11'], podCidrs: [] })
  await agent.tables.settled()
  assert.equal(own(), false)
  await agent.tables.close()
})

interface Step {
  readonly do: 'set' | 'remove' | 'up' | 'down' | 'settle' | 'clear' | 'restart' | 'delete tables' | 'delete elements'
  readonly port: number
  readonly endpoints: readonly number[]
}

const port = fc.integer({ min: 0, max: 5 })
const rarely = ['clear', 'restart', 'delete tables', 'delete elements'] as const
const often = ['set', 'set', 'set', 'remove', 'up', 'up', 'down', 'settle', 'settle'] as const
const steps = fc.array(
  fc.record<Step>({
    do: fc.constantFrom(...often, ...rarely),
    port,
    endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 6 }),
  }),
  { maxLength: 25 },
)

/**
 * Two ports share a VIP, one is of UDP and one of IPv6; two have affinity while they have an even number of endpoints.
 * With some numbers of endpoints there are external addresses, also where the VIP has no endpoint.
 */
function stateOf(number: number, endpoints: readonly number[]): PortState {
  const vip = number === 5 ? 'fd00::5' : `10.0.0.${number >> 1}`
  const texts = endpoints.map(n => (number === 5 ? `fd01::${n} 80@node1` : `10.1.0.${n}:80@node${n % 2}`))
  const protocol = number === 3 ? 'UDP' : 'TCP'
  const state = portState(`ns/s${number}/p`, vip, texts, {
    port: { name: 'p', protocol, port: 80 + number },
    affinitySeconds: (number === 3 || number === 4) && endpoints.length % 2 === 0 ? 10 : undefined,
  })
  return endpoints.length % 3 === 0 ? state : withOutside(state, number, endpoints.length)
}

function withOutside(state: PortState, number: number, count: number): PortState {
  const policy = count % 2 === 0 ? 'Local' : 'Cluster'
  const here = state.endpoints.filter(({ nodeName }) => nodeName === 'node1')
  const [ip, range] =
    state.family === 'IPv4' ? [`192.0.2.${number}`, '10.0.0.0/8'] : [`2001:db8::${number}`, 'fd00::/8']
  const external: External = {
    nodePort: count > 2 ? 30_080 + number : undefined,
    externalIPs: [],
    loadBalancerIPs: [ip],
    sourceRanges: count === 4 ? [range, '203.0.113.0/24'] : [],
    policy,
    endpoints: policy === 'Local' ? here : state.endpoints,
    clusterEndpoints: state.endpoints,
    noLocalEndpoints: policy === 'Local' && here.length === 0,
    layer: { wants: 'envoy', protocol: 'http', reason: '' },
  }
  return count === 5 ? { ...state, endpoints: [], external } : { ...state, external }
}

test('After any changes, restarts and foreign deletions the kernel has exactly what is asked for', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async sequence => {
      let agent = new Agent()
      await agent.run()
      const states = new Map<string, PortState>()
      const overlay = new Set<string>()
      /** Also removes VIP:ports that a port no longer has from the overlay. */
      const change = (id: string, after: PortState | undefined) => {
        const before = states.get(id)
        const kept = after ? overlayKeysOf(after) : []
        const left = before?.port.protocol === 'TCP' ? overlayKeysOf(before).filter(key => !kept.includes(key)) : []
        for (const key of left) overlay.delete(key)
        if (after) states.set(id, after)
        else states.delete(id)
      }
      for (const step of sequence) {
        const target = stateOf(step.port, step.endpoints)
        if (step.do === 'set') {
          change(target.id, target)
          agent.tables.setPort(target)
        } else if (step.do === 'remove') {
          change(target.id, undefined)
          agent.tables.removePort(target.id)
        } else if (step.do === 'up' || step.do === 'down') {
          for (const key of overlayKeysOf(target)) step.do === 'up' ? overlay.add(key) : overlay.delete(key)
          agent.tables.setOverlay(overlayPlaces(target), step.do === 'up')
        } else if (step.do === 'clear') {
          overlay.clear()
          agent.tables.clearOverlay()
        } else if (step.do === 'settle') {
          await agent.tables.settled()
          assert.deepEqual(unordered(agent.nft.model.elements()), wanted(states.values(), overlay))
        } else if (step.do === 'restart') {
          for (const wish of overlay) {
            const owned = [...states.values()].some(state => overlayKeysOf(state).includes(wish))
            if (!owned) overlay.delete(wish)
          }
          await agent.tables.settled()
          await agent.tables.close()
          agent = new Agent(agent.nft)
          await agent.run([...states.values()])
          for (const state of states.values()) {
            for (const place of overlayPlaces(state)) {
              agent.tables.setOverlay([place], overlay.has(addressPortBytes(place)))
            }
          }
        } else {
          await agent.tables.settled()
          if (step.do === 'delete tables') agent.nft.model.apply([{ do: 'delete table', table: tableOf('ip') }])
          else
            agent.nft.model.apply(
              ['envoy', 'endpoints-tcp'].map(name => ({ do: 'flush set', table: tableOf('ip'), name })),
            )
          // It is noticed by the first change that touches what is gone.
          for (const state of [...states.values(), stateOf(0, [])]) {
            const bare = { ...state, endpoints: [], external: undefined }
            change(state.id, bare)
            agent.tables.setPort(bare)
          }
          await agent.tables.settled()
          change('ns/s0/p', stateOf(0, [1, 2]))
          agent.tables.setPort(stateOf(0, [1, 2]))
        }
      }
      await agent.tables.settled()
      assert.deepEqual(unordered(agent.nft.model.elements()), wanted(states.values(), overlay))
      assert.equal(agent.problems.size, 0)
      await agent.tables.close()
    }),
    { numRuns: 50 },
  )
})

test('A frontend that went while no agent was there keeps no port from being written', async () => {
  const sticky = withOutside({ ...stateOf(3, [1, 2, 3]), affinitySeconds: 10 }, 3, 4)
  const bare = { ...sticky, endpoints: [], external: undefined }
  for (const later of [bare, { ...sticky, vip: '10.0.0.9' }]) {
    const first = new Agent()
    await first.run([sticky])
    await first.tables.close()
    const second = new Agent(first.nft)
    await second.run([later])
    assert.deepEqual([...second.problems], [])
    assert.deepEqual(unordered(second.nft.model.elements()), wanted([later]))
    await second.tables.close()
  }
})

test('A change touches no element of another port', async () => {
  const states = Array.from({ length: 5 }, (_, number) => stateOf(number, [1, 2, 3, 4]))
  await fc.assert(
    fc.asyncProperty(port, fc.uniqueArray(fc.integer({ min: 1, max: 8 })), async (number, endpoints) => {
      const agent = new Agent()
      await agent.run(states)
      const before = agent.nft.model.found()
      const changed = stateOf(number, endpoints)
      const own = [...portKeys(changed), ...(states[number] ? portKeys(states[number]) : [])]
      agent.tables.setPort(changed)
      await agent.tables.settled()
      const after = agent.nft.model.found()
      for (const name of new Set([...before.keys(), ...after.keys()])) {
        const owner = ownerOf(name)
        if (owner !== undefined && !own.includes(owner)) assert.equal(after.get(name), before.get(name), name)
      }
      await agent.tables.close()
    }),
    { numRuns: 30 },
  )
})

test('Each sync reports its result and what it has settled, from the synchronisation of the source on', async () => {
  const { tables, results, nft } = new Agent()
  await tables.start()
  assert.deepEqual(results, [])
  tables.setPort(web)
  tables.synced()
  const asked = performance.now()
  await tables.settled()
  assert.deepEqual(
    results.map(({ ok, isFull, syncedThrough }) => [ok, isFull, syncedThrough >= asked]),
    [[true, true, true]],
  )
  tables.setPort({ ...web, endpoints: web.endpoints.slice(1) })
  await tables.settled()
  nft.missing = true
  tables.setPort(web)
  const failed = new Promise<void>(resolve => {
    const push = results.push.bind(results)
    results.push = (...more) => {
      resolve()
      return push(...more)
    }
  })
  await failed
  assert.deepEqual(
    results.slice(1, 3).map(({ ok, isFull }) => [ok, isFull]),
    [
      [true, false],
      [false, false],
    ],
  )
  await tables.close()
})

test('A port that is refused alone does not make a sync fail', async () => {
  const { tables, results, nft } = new Agent()
  nft.refuses = text => text.includes('10.0.0.2')
  await tables.start()
  tables.setPort(web)
  tables.setPort(dns)
  tables.synced()
  await tables.settled()
  assert.equal(results.at(-1)?.ok, true)
  await tables.close()
})

test('What comes while a sync runs, and is in it, is settled by it', async () => {
  const { tables, results, nft } = new Agent()
  const { chains } = nft
  let asked = 0
  nft.chains = family => {
    asked ||= performance.now()
    tables.setPort(web)
    tables.synced()
    return chains.call(nft, family)
  }
  await tables.start()
  await tables.settled()
  const [result, ...more] = results
  assert.deepEqual([result?.ok, more], [true, []])
  assert.ok(result!.syncedThrough >= asked, `${result!.syncedThrough} ${asked}`)
  await tables.close()
})
