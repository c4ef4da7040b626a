/** What was measured of a control plane that serves many nodes (serving.ts), as tables. */

import type { Findings, Table } from '../../runner/experiment.ts'
import { aim, figure, median, p, spread } from '../../runner/statistics.ts'
import type { Connecting, Propagation, Serving, ServingOptions } from './serving-data.ts'

const aims = {
  connect: { seconds: 20, memory: 700 },
  churn: { memory: 500, cores: 1 },
  told: { p50: 50, p99: 250 },
} as const

export function reportServing(serving: Serving, options: ServingOptions): Findings {
  const { connecting, single, churn } = serving
  return {
    tables: [
      connectTable(connecting, options),
      churnTable(churn, options),
      propagationTable({ single, churn }, options),
    ],
    // Of each change to each agent there would be a million figures.
    data: { options, connecting, single: summary(single), churn: { ...churn, ...summary(churn) } },
  }
}

function connectTable(all: readonly Connecting[], { agents, services, endpoints, rounds }: ServingOptions): Table {
  const over = (of: (one: Connecting) => number) => spread(all.map(of))
  const last = (one: Connecting) => one.told.seconds.at(-1)!
  const met = (of: (one: Connecting) => number, most: number) => all.every(one => of(one) <= most)
  return {
    title: `${agents} nodes connect at once to one control plane, among ${count(services)} Services of ${endpoints} endpoints`,
    header: ['', '', 'aim'],
    rows: [
      [
        'all have everything after',
        `${over(last)} s`,
        aim(`≤ ${aims.connect.seconds} s`, met(last, aims.connect.seconds)),
      ],
      ['  half of them', `${over(({ told }) => median(told.seconds))} s`, ''],
      ['  sent to each', `${over(({ told }) => told.bytes / agents / 1e6)} MB`, ''],
      ['  streams that were refused at first', over(({ told }) => told.retries), ''],
      [
        'its memory (RSS), the most',
        `${over(({ after }) => after.peak)} MB`,
        aim(
          `≤ ${aims.connect.memory} MB`,
          met(({ after }) => after.peak, aims.connect.memory),
        ),
      ],
      ['  before anybody connects', `${over(({ before }) => before.rss)} MB`, ''],
      ['  once all have everything', `${over(({ after }) => after.rss)} MB`, ''],
      ['its CPU time', `${over(({ cpu }) => cpu.controlPlane!)} s`, ''],
      ['  that of the simulated nodes', `${over(({ cpu }) => cpu.clients!)} s`, ''],
      [
        "  that of the API server, by which each node's token is looked at",
        `${over(({ cpu }) => cpu.apiServer!)} s`,
        '',
      ],
      ['before that: its own start, until it serves', `${over(({ started }) => started)} s`, ''],
    ],
    notes: [
      `${rounds} times, each time a control plane that is new, and nodes that have nothing, each by TLS from an address of its own with a token that is bound to its Node; they count and hash what they are told on the same cores; the cluster has no Pods`,
    ],
  }
}

function churnTable({ memory, cpu, rate }: Serving['churn'], { agents, churn }: ServingOptions): Table {
  const core = (name: string) => `${figure(cpu[name]!)} cores`
  return {
    title: `Endpoints change ${churn.rate} times a second, and ${agents} nodes are told`,
    header: ['', '', 'aim'],
    rows: [
      [
        'memory (RSS) of the control plane',
        `${figure(memory.rss)} MB`,
        aim(`≤ ${aims.churn.memory} MB`, memory.rss <= aims.churn.memory),
      ],
      ['its CPU', core('controlPlane'), aim(`≤ ${aims.churn.cores} core`, cpu.controlPlane! <= aims.churn.cores)],
      ['  of the simulated nodes', core('clients'), ''],
      ['  of the API server and its etcd', core('apiServer'), ''],
      ['  of the whole machine', core('all'), ''],
      ['changes a second that there were', figure(rate), ''],
    ],
    notes: [`${churn.seconds} s, each change of another EndpointSlice`],
  }
}

function propagationTable(
  changes: Readonly<Record<'single' | 'churn', Propagation>>,
  { agents, single, churn }: ServingOptions,
): Table {
  const row = (what: string, of: keyof Propagation, percent: number, most?: number) => {
    const [one, many] = [p(changes.single[of], percent), p(changes.churn[of], percent)]
    const goal =
      most === undefined ? '' : `${aim(`≤ ${most} ms`, one <= most)}; ${aim(`${churn.rate} a second`, many <= most)}`
    return [what, `${figure(one)} ms`, `${figure(many)} ms`, goal]
  }
  return {
    title: `From the API server's answer to a change, until each of ${agents} nodes is told of it`,
    header: ['', 'one change after the other', `${churn.rate} a second`, 'aim'],
    rows: [
      row('a node is told, p50', 'each', 50, aims.told.p50),
      row('  p99', 'each', 99, aims.told.p99),
      row('the last node is told, p50', 'last', 50),
      row('  p99', 'last', 99),
      row('it is in the kernel of a real node, p50', 'kernel', 50, aims.told.p50),
      row('  p99', 'kernel', 99, aims.told.p99),
    ],
    notes: [
      `${single} changes one after the other, then ${count(churn.rate * churn.seconds)}; one more node is real: an agent as it ships, with its kernel layer`,
    ],
  }
}

function summary({ each, last, kernel }: Propagation) {
  const percentiles = (values: readonly number[]) =>
    Object.fromEntries([50, 90, 99, 100].map(percent => [`p${percent}`, p(values, percent)]))
  return { each: percentiles(each), last: percentiles(last), kernel: percentiles(kernel) }
}

function count(value: number): string {
  return value.toLocaleString('en')
}
