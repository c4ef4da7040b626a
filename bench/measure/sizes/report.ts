/** What was measured by the number of Services (sizes.ts), as tables and charts. */

import { type ProxyKind, type VariantId, variant } from '../../lab/variants.ts'
import type { Chart } from '../../runner/chart.ts'
import type { Findings, Table } from '../../runner/experiment.ts'
import { aim, figure, p } from '../../runner/statistics.ts'
import { type Costs, churnRate, kinds, type Measured, type Served, type SizesOptions } from './data.ts'

/** By the number of Services and the proxy. */
type Sizes = ReadonlyMap<number, ReadonlyMap<ProxyKind, Measured>>

export function reportSizes(measured: Sizes, options: SizesOptions): Findings {
  return {
    tables: [costs(measured, options), connections(measured), propagation(measured)],
    charts: [
      chart(measured, 'Memory by the number of Services', 'MB', ({ processes }) => sum(processes, 'memory')),
      chart(measured, 'Start-up by the number of Services', 'seconds', ({ started }) => started),
    ],
    data: Object.fromEntries([...measured].map(([services, its]) => [services, Object.fromEntries(its)])),
  }
}

const proxyNames: Readonly<Record<ProxyKind, string>> = {
  nftables: 'kube-proxy, nftables',
  iptables: 'kube-proxy, iptables',
  lightpath: 'Lightpath, agent and Envoy',
}

function sum(processes: Measured['processes'], of: keyof Costs): number {
  return Object.values(processes).reduce((all, costs) => all + costs[of], 0)
}

function costs(measured: Sizes, options: SizesOptions): Table {
  const rows = [...measured].flatMap(([services, its]) => {
    const base = its.get('nftables')!.processes['kube-proxy']!
    return [...its].flatMap(([kind, { started, processes }]) =>
      Object.entries(processes).map(([name, { memory, rest, churn }]) => [
        services.toLocaleString('en'),
        kind === 'lightpath' ? name : proxyNames[kind],
        name === 'envoy' ? '' : `${figure(started)} s`,
        `${figure(memory)} MB`,
        figure(rest),
        figure(churn),
        name === 'agent'
          ? aim('memory ≤ kube-proxy’s, churn ≤ 0.2 of it', memory <= base.memory && churn <= 0.2 * base.churn)
          : '',
      ]),
    )
  })
  return {
    title: `Start and costs among Services of ${options.endpoints} endpoints`,
    header: [
      'Services',
      '',
      'a Service is served after',
      'memory (RSS)',
      'CPU at rest',
      `CPU under ${churnRate} changes/s`,
      'aim',
    ],
    rows,
    notes: ['CPU in thousandths of a core, with the programs that kube-proxy starts (nft, iptables-restore)'],
  }
}

function connections(measured: Sizes): Table {
  return {
    title: 'A new connection after the other',
    header: ['Services', '', 'connections/s', 'p50', 'p99', 'failed'],
    rows: rowsOf(measured, ({ connect: { rate, percentiles, failed } }) => [
      figure(rate),
      `${figure(percentiles.p50! * 1000)} µs`,
      `${figure(percentiles.p99! * 1000)} µs`,
      String(failed),
    ]),
    notes: ['one at a time, until it is open: the way of the first packet through all rules'],
  }
}

function propagation(measured: Sizes): Table {
  const p99 = (services: number, id: VariantId, kind: ProxyKind) =>
    p(measured.get(services)!.get(kind)!.variants[id]!.first, 99)
  return {
    title: `An endpoint is replaced while ${churnRate} other changes a second go on`,
    header: ['Services', '', 'first request at the new one, p50', 'p99', 'last at the old one, p50', 'p99', 'aim'],
    rows: rowsOf(measured, ({ first, last }, services, id) => [
      ...[first, last].flatMap(times => [`${figure(p(times, 50))} ms`, `${figure(p(times, 99))} ms`]),
      variant(id).proxy === 'lightpath'
        ? aim(
            'p99 ≤ 0.05 of kube-proxy',
            p99(services, id, 'lightpath') <= 0.05 * p99(services, 'nftables', 'nftables'),
          )
        : '',
    ]),
    notes: ["from the API server's answer, seen by 300 new connections a second"],
  }
}

function rowsOf(
  measured: Sizes,
  cells: (served: Served, services: number, id: VariantId) => readonly string[],
): string[][] {
  return [...measured].flatMap(([services, its]) =>
    [...its.values()].flatMap(({ variants }) =>
      Object.entries(variants).map(([id, served]) => [
        services.toLocaleString('en'),
        variant(id as VariantId).name,
        ...cells(served, services, id as VariantId),
      ]),
    ),
  )
}

function chart(measured: Sizes, title: string, unit: string, of: (one: Measured) => number): Chart {
  return {
    title,
    x: { title: 'Services', log: true },
    y: { title: unit },
    lines: kinds.map(kind => ({
      name: proxyNames[kind],
      points: [...measured].flatMap(([services, its]) =>
        its.has(kind) ? [[services, of(its.get(kind)!)] as const] : [],
      ),
    })),
  }
}
