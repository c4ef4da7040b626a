/** What goes wrong, one thing at a time. */

import { fillConntrack, freeConntrack } from '../../src/lab/conntrack.ts'
import { pause } from '../../src/lab/wait.ts'
import type { VariantId } from '../lab/variants.ts'
import type { ChaosBed } from './bed.ts'

export interface Fault {
  readonly name: string
  /** Of how long it lasts, seconds; the short form has it for at most ten. */
  readonly seconds: number
  /** What kube-proxy has not. */
  readonly lightpathOnly?: boolean
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
    seconds: 20,
    begin: async bed => {
      for (let update = 0; update < 3; update++) await bed.rollingUpdate(300)
    },
  },
  {
    name: 'an endpoint killed (SIGKILL)',
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
    seconds: 20,
    begin: bed => bed.drop(bed.victim.pod, true),
    end: bed => bed.drop(bed.victim.pod, false),
  },
  {
    name: 'an endpoint 100 times slower',
    seconds: 10,
    begin: bed => bed.setFault(bed.victim, { delay: '100ms' }),
    end: bed => bed.setFault(bed.victim),
  },
  {
    name: 'an endpoint answers 503',
    seconds: 10,
    begin: bed => bed.setFault(bed.victim, { status: 503 }),
    end: bed => bed.setFault(bed.victim),
  },
  {
    name: 'the node of an endpoint gone: all its packets are dropped',
    seconds: 40,
    aim: { seconds: 5 },
    begin: bed => bed.drop(bed.victimNode, true),
    end: bed => bed.drop(bed.victimNode, false),
  },
  {
    name: 'Envoy killed (SIGKILL)',
    seconds: 10,
    lightpathOnly: true,
    // What is in flight: one for each connection at most.
    aim: { failed: 20 },
    begin: async (bed, id) => bed.proxied(id).processes.envoy!.kill('SIGKILL'),
  },
  {
    name: 'Envoy hung (SIGSTOP)',
    seconds: 10,
    lightpathOnly: true,
    aim: { seconds: 2 },
    begin: async (bed, id) => bed.proxied(id).processes.envoy!.kill('SIGSTOP'),
    end: async (bed, id) => bed.proxied(id).processes.envoy!.kill('SIGCONT'),
  },
  {
    name: 'Envoy upgraded: it drains, ends, and another starts',
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
    seconds: 10,
    begin: async (bed, id) => bed.proxied(id).processes[controlOf(id)]!.kill('SIGKILL'),
  },
  {
    name: 'agent or kube-proxy upgraded: it ends, and another starts',
    seconds: 10,
    begin: async (bed, id) => {
      const control = bed.proxied(id).processes[controlOf(id)]!
      await control.down()
      await control.up()
    },
  },
  {
    name: 'API server stopped, for two minutes',
    seconds: 120,
    begin: async bed => bed.bed.plane.signal('SIGSTOP'),
    end: async bed => bed.bed.plane.signal('SIGCONT'),
  },
  {
    name: 'ruleset flushed',
    seconds: 40,
    aim: { seconds: 0.1 },
    begin: async (bed, id) => void (await bed.on(id, 'nft', 'flush', 'ruleset')),
    // kube-proxy looks for what is gone only when it starts.
    end: async (bed, id) => bed.proxied(id).processes['kube-proxy']?.kill('SIGKILL'),
  },
  {
    name: 'routing rule removed',
    seconds: 10,
    lightpathOnly: true,
    begin: async (bed, id) => {
      const rules = (await bed.on(id, 'ip', 'rule')).split('\n').filter(line => line.includes('fwmark'))
      for (const rule of rules) await bed.on(id, 'ip', 'rule', 'del', 'pref', rule.split(':')[0]!)
    },
  },
  {
    name: "the node's conntrack table is full",
    seconds: 10,
    begin: async (bed, id) => void fillConntrack(bed.proxied(id).node.netns),
    end: async (bed, id) => freeConntrack(bed.proxied(id).node.netns),
  },
  {
    name: 'one packet of a hundred lost',
    seconds: 10,
    begin: (bed, id) => bed.lose(bed.proxied(id).node, true),
    end: (bed, id) => bed.lose(bed.proxied(id).node, false),
  },
]
