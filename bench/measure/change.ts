/**
 * How long a change of one EndpointSlice takes to be in effect, and whether that depends on the number of Services.
 *
 * A change begins with the writing of its file. It is in the kernel when the agent's nft has answered, and in Envoy when the
 * agent has Envoy's acknowledgement; both are taken from the agent's log, whose time-stamps are whole milliseconds.
 */

import { randomInt } from 'node:crypto'
import { pause, waitFor } from '../../src/lab/wait.ts'
import type { SliceChange } from '../lab/generate.ts'
import { programmedIn, readMetrics } from '../lab/node.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, figure, p } from '../runner/statistics.ts'
import type { Fleet } from './scale.ts'

export interface ChangeOptions {
  /** Of each fleet. */
  readonly changes: number
  /** So many changes of one fleet, then as many of the next. */
  readonly perTurn: number
}

/** One change; milliseconds from the writing of its file. */
export interface Change {
  readonly kind: SliceChange
  /** The agent has read it. */
  readonly arrived: number
  readonly kernel: number
  readonly envoy: number
  /** How long nft took. */
  readonly nft: number
  readonly nftBytes: number
}

interface Measured {
  readonly changes: Change[]
  /** Of xDS responses, for all changes together. */
  xdsBytes: number
  /** The longest time that the agent's event loop stood still, milliseconds. */
  loopDelay: number
}

const kinds: readonly SliceChange[] = ['replace', 'add', 'remove']
const limitMs = 10_000

export async function measureChanges(fleets: readonly Fleet[], { changes, perTurn }: ChangeOptions): Promise<Report> {
  const measured: Measured[] = fleets.map(() => ({ changes: [], xdsBytes: 0, loopDelay: 0 }))
  for (let done = 0; done < changes; done += perTurn) {
    for (const [index, fleet] of fleets.entries()) {
      const its = measured[index]!
      const before = await readings(fleet)
      for (let turn = 0; turn < Math.min(perTurn, changes - done); turn++) {
        its.changes.push(await change(fleet, kinds[(done + turn) % kinds.length]!))
        await pause(randomInt(20, 60))
      }
      const after = await readings(fleet)
      its.xdsBytes += after.xdsBytes - before.xdsBytes
      its.loopDelay = Math.max(its.loopDelay, after.loopDelay)
    }
  }
  return report(fleets, measured)
}

/** The delay is the longest since the last reading. */
async function readings({ node }: Fleet) {
  const metrics = await readMetrics(node)
  return {
    xdsBytes: metrics.get('lightpath_xds_sent_bytes_total') ?? 0,
    loopDelay: (metrics.get('lightpath_event_loop_delay_seconds') ?? 0) * 1000,
  }
}

export async function change({ manifests, agent }: Fleet, kind: SliceChange): Promise<Change> {
  agent.log.take()
  const written = performance.timeOrigin + performance.now()
  const id = manifests.change(randomInt(manifests.cluster.size.services), kind)
  const seen: { arrived?: number; kernel?: number; envoy?: number; nft?: number; nftBytes?: number } = {}
  const look = () => {
    for (const line of agent.log.take()) {
      const { msg, at, layer, milliseconds, bytes } = line
      if (msg === 'nftables transaction') Object.assign(seen, { nft: milliseconds, nftBytes: bytes })
      const took = programmedIn(line, id)
      if (took === undefined) continue
      seen.arrived ??= at - took - written
      seen[layer as 'kernel' | 'envoy'] = at - written
    }
    return seen.kernel !== undefined && seen.envoy !== undefined
  }
  await waitFor(`the change of ${id} in both layers`, limitMs, look, 5)
  return { kind, ...seen } as Change
}

function report(fleets: readonly Fleet[], measured: readonly Measured[]): Report {
  const row = (what: string, of: (changes: readonly Change[]) => number, unit: string, aims = '') => {
    const values = measured.map(({ changes }) => of(changes))
    const ratio = values.length === 2 ? figure(values[0]! / values[1]!) : ''
    return [what, ...values.map(value => `${figure(value)} ${unit}`), ratio, aims]
  }
  const percentileOf = (field: 'arrived' | 'kernel' | 'envoy' | 'nft', percent: number) => {
    return (changes: readonly Change[]) =>
      p(
        changes.map(change => change[field]),
        percent,
      )
  }
  const reached = (field: 'kernel' | 'envoy') => {
    const [large, small] = measured.map(({ changes }) => percentileOf(field, 99)(changes)) as [number, number?]
    return aim('≤ 50 ms, ratio ≤ 2', large <= 50 && large <= 2 * (small ?? large))
  }
  const count = measured[0]!.changes.length
  const perChange = (bytes: (its: Measured) => number) => measured.map(its => bytes(its) / its.changes.length)
  const bytesRow = (what: string, values: readonly number[]) => {
    return [what, ...values.map(value => `${figure(value)} B`), figure(values[0]! / values.at(-1)!), '']
  }
  return {
    title: 'Change: one EndpointSlice changes (a pod replaced, one more, one less, in turns)',
    header: [
      '',
      ...fleets.map(({ manifests }) => `${manifests.cluster.size.services.toLocaleString('en')} Services`),
      'ratio',
      'aim',
    ],
    rows: [
      row('written → read by the agent, p50', percentileOf('arrived', 50), 'ms'),
      row('  p99', percentileOf('arrived', 99), 'ms'),
      row('written → in the kernel, p50', percentileOf('kernel', 50), 'ms'),
      row('  p99', percentileOf('kernel', 99), 'ms', reached('kernel')),
      row('written → acknowledged by Envoy, p50', percentileOf('envoy', 50), 'ms'),
      row('  p99', percentileOf('envoy', 99), 'ms', reached('envoy')),
      row('one transaction, p50', percentileOf('nft', 50), 'ms'),
      row('  p99', percentileOf('nft', 99), 'ms'),
      [
        "the agent's event loop stood still, at most",
        ...measured.map(({ loopDelay }) => `${figure(loopDelay)} ms`),
        '',
        aim(
          '≤ 20 ms',
          measured.every(({ loopDelay }) => loopDelay <= 20),
        ),
      ],
      bytesRow(
        'to Envoy, a change',
        perChange(({ xdsBytes }) => xdsBytes),
      ),
      bytesRow(
        'to the kernel, a change',
        perChange(({ changes }) => changes.reduce((sum, { nftBytes }) => sum + nftBytes, 0)),
      ),
    ],
    notes: [`${count} changes each, one after the other, the sizes in turns`],
    data: { sizes: fleets.map(({ manifests }) => manifests.cluster.size), measured },
  }
}
