/**
 * What goes wrong, one thing at a time: the chaos table, whose rows are tests, too. A unit test (src/testing/bench.test.ts) says
 * where a row has none.
 */

import { canFakeClock } from '../../src/lab/faults/clock.ts'
import { fillConntrack, freeConntrack } from '../../src/lab/faults/conntrack.ts'
import { canLimitMemory } from '../../src/lab/faults/memory.ts'
import { pause } from '../../src/lab/wait.ts'
import type { VariantId } from '../lab/variants.ts'
import type { ChaosBed } from './bed.ts'

export interface Fault {
  readonly name: string
  /** Of how long it lasts, seconds; the short form has it for at most ten. */
  readonly seconds: number
  /** The test of it: its file in test/, and its name from the beginning on. */
  readonly test: readonly [file: string, name: string]
  /** Of what kube-proxy has not, or what cannot be done to it. */
  readonly lightpathOnly?: boolean
  /** False where this machine lacks what it takes. */
  readonly isPossible?: boolean
  /** How many requests may fail, or for how long some may fail or wait; none unless it says so. */
  readonly aim?: { readonly failed: number } | { readonly seconds: number }
  /** Resolves when it has begun, or where it ends by itself when it has ended. */
  readonly begin: (bed: ChaosBed, id: VariantId) => Promise<void>
  readonly end?: (bed: ChaosBed, id: VariantId) => Promise<void>
}

/** How long a kubelet and a controller take from a container's end until its slice says so. */
const noticedAfterMs = 1000

const controlOf = (id: VariantId) => (id === 'nftables' || id === 'iptables' ? 'kube-proxy' : 'agent')

export const faults: readonly Fault[] = [
  {
    name: 'rolling update of ten endpoints, three times',
    test: ['node/failures/chaos', 'a rolling update fails no request'],
    seconds: 20,
    begin: async bed => {
      for (let update = 0; update < 3; update++) await bed.rollingUpdate(300)
    },
  },
  {
    name: 'an endpoint killed (SIGKILL)',
    test: ['node/envoy/retries', 'no GET fails when one of three endpoints dies under load'],
    seconds: 10,
    begin: async bed => {
      const { victim, endpoints } = bed
      victim.server?.kill('SIGKILL')
      victim.server = undefined
      await pause(noticedAfterMs)
      await bed.publish(endpoints.filter(one => one !== victim))
    },
    end: async bed => {
      await bed.start(bed.victim)
      await bed.publish(bed.endpoints)
    },
  },
  {
    name: 'an endpoint black-holed: its packets are dropped',
    test: ['node/failures/vanished-endpoint', 'fails no GET'],
    seconds: 20,
    begin: bed => bed.drop(bed.victim.pod, true),
    end: bed => bed.drop(bed.victim.pod, false),
  },
  {
    name: 'an endpoint 100 times slower',
    test: ['node/failures/chaos', 'an endpoint that becomes a hundred times slower fails no request'],
    seconds: 10,
    begin: bed => bed.setFault(bed.victim, { delay: '100ms' }),
    end: bed => bed.setFault(bed.victim),
  },
  {
    name: 'an endpoint answers 503',
    test: ['node/failures/chaos', 'an endpoint that answers 503 fails no GET'],
    seconds: 10,
    begin: bed => bed.setFault(bed.victim, { status: 503 }),
    end: bed => bed.setFault(bed.victim),
  },
  {
    name: 'the node of an endpoint gone: all its packets are dropped',
    test: ['node/failures/chaos', 'the loss of the node of an endpoint fails no GET'],
    seconds: 40,
    aim: { seconds: 5 },
    begin: bed => bed.drop(bed.victimNode, true),
    end: bed => bed.drop(bed.victimNode, false),
  },
  {
    name: 'Envoy killed (SIGKILL)',
    test: ['node/agent/processes/crash', 'Envoy killed with the agent alive'],
    seconds: 10,
    lightpathOnly: true,
    // What is in flight: one for each connection at most.
    aim: { failed: 20 },
    begin: async (bed, id) => bed.proxied(id).processes.envoy!.kill('SIGKILL'),
  },
  {
    name: 'Envoy hung (SIGSTOP)',
    test: ['node/failures/hung-envoy', 'loses its clients when it hangs'],
    seconds: 10,
    lightpathOnly: true,
    aim: { seconds: 2 },
    begin: async (bed, id) => bed.proxied(id).processes.envoy!.kill('SIGSTOP'),
    end: async (bed, id) => bed.proxied(id).processes.envoy!.kill('SIGCONT'),
  },
  {
    name: 'Envoy upgraded: it drains, ends, and another starts',
    test: ['node/agent/processes/upgrade', 'under 600 requests/s: no request is lost'],
    seconds: 20,
    lightpathOnly: true,
    begin: async (bed, id) => {
      await bed.drainEnvoy(id)
      const { envoy } = bed.proxied(id).processes
      await envoy!.down()
      await envoy!.up()
    },
  },
  {
    name: 'agent or kube-proxy killed (SIGKILL)',
    test: ['node/agent/processes/crash', 'killing the agent under 500 requests/s loses no request'],
    seconds: 10,
    begin: async (bed, id) => bed.proxied(id).processes[controlOf(id)]!.kill('SIGKILL'),
  },
  {
    name: 'agent or kube-proxy upgraded: it ends, and another starts',
    test: ['node/failures/chaos', 'an agent that ends, and one that follows it, fail no request'],
    seconds: 10,
    begin: async (bed, id) => {
      const control = bed.proxied(id).processes[controlOf(id)]!
      await control.down()
      await control.up()
    },
  },
  {
    name: 'API server stopped, for two minutes',
    test: ['cluster/kubernetes', 'two minutes without an API server lose no request'],
    seconds: 120,
    begin: async bed => bed.bed.plane.signal('SIGSTOP'),
    end: async bed => bed.bed.plane.signal('SIGCONT'),
  },
  {
    name: 'ruleset flushed',
    test: ['node/kernel/drift', 'are written anew by themselves when somebody has removed them'],
    seconds: 40,
    aim: { seconds: 0.1 },
    begin: async (bed, id) => void (await bed.on(id, 'nft', 'flush', 'ruleset')),
    // kube-proxy looks for what is gone only when it starts.
    end: async (bed, id) => bed.proxied(id).processes['kube-proxy']?.kill('SIGKILL'),
  },
  {
    name: 'routing rule removed',
    test: ['node/kernel/drift', 'have their routing rule and route again at once when somebody takes them'],
    seconds: 10,
    lightpathOnly: true,
    begin: async (bed, id) => {
      const rules = (await bed.on(id, 'ip', 'rule')).split('\n').filter(line => line.includes('fwmark'))
      for (const rule of rules) await bed.on(id, 'ip', 'rule', 'del', 'pref', rule.split(':')[0]!)
    },
  },
  {
    name: "the node's conntrack table is full",
    test: ['node/failures/chaos', 'a conntrack table that is full fails no request'],
    seconds: 10,
    begin: async (bed, id) => void fillConntrack(bed.proxied(id).node.netns),
    end: async (bed, id) => freeConntrack(bed.proxied(id).node.netns),
  },
  {
    name: 'Envoy out of memory: its limit is half of what it has',
    test: ['node/failures/chaos', 'an Envoy that its container gives too little memory fails what is in flight'],
    seconds: 10,
    lightpathOnly: true,
    isPossible: canLimitMemory,
    aim: { failed: 20 },
    begin: async (bed, id) => {
      const memory = bed.container(id, 'envoy').memory!
      await memory.limit(Math.round(memory.usage / 2))
    },
    end: async (bed, id) => bed.container(id, 'envoy').memory!.limit(undefined),
  },
  {
    name: 'the clock of the agent set back an hour, and an endpoint changes',
    test: ['node/failures/chaos', 'an agent whose clock is set back an hour fails no request'],
    seconds: 10,
    lightpathOnly: true,
    isPossible: canFakeClock,
    begin: async bed => {
      bed.clock.set('-1h')
      await pause(1000)
      await bed.change()
    },
    end: async bed => bed.clock.set('+0'),
  },
  {
    name: 'the disk of the node full, and an endpoint changes',
    test: ['node/failures/chaos', 'agent and Envoy whose log no disk takes fail no request'],
    seconds: 10,
    begin: async (bed, id) => {
      bed.fillDisks(id, true)
      await bed.change()
    },
    end: async (bed, id) => bed.fillDisks(id, false),
  },
  {
    name: 'one packet of a hundred lost',
    test: ['node/failures/chaos', 'the loss of one packet in a hundred fails no request'],
    seconds: 10,
    begin: (bed, id) => bed.lose(bed.proxied(id).node, true),
    end: (bed, id) => bed.lose(bed.proxied(id).node, false),
  },
]
