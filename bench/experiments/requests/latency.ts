import type { Aim, Case, Endpoints } from '../../measure/services/case.ts'
import { measureServices } from '../../measure/services/measure.ts'
import { experiment } from '../../runner/experiment.ts'

const ten: readonly Endpoints[] = [{ count: 10, delay: '4ms' }]
const oneSlow: readonly Endpoints[] = [
  { count: 9, delay: '4ms' },
  { count: 1, delay: '40ms' },
]
const oneStalls: readonly Endpoints[] = [
  { count: 9, delay: '4ms' },
  { count: 1, delay: '4ms', stall: '500ms', every: '4s' },
]
const nearAndFar: readonly Endpoints[] = [
  { count: 3, delay: '4ms' },
  { count: 7, delay: '24ms' },
]
/** Those here can answer 100 requests a second. */
const tooFewHere: readonly Endpoints[] = [
  { count: 2, delay: '20ms', workers: 1 },
  { count: 4, delay: '24ms', workers: 4, isElsewhere: true },
]

const usual = { rate: 150, connections: 20, base: 'leastRequest', variants: ['leastRequest', 'peakEwma'] } as const
/** With the noise of the machine: one is to be as good as another of the same. */
const withControl = { ...usual, variants: ['leastRequest', 'peakEwma', 'leastRequestAgain'] } as const

function ofPeakEwma(...most: readonly Aim[]): Required<Pick<Case, 'aims'>> {
  return { aims: { of: 'peakEwma', most } }
}

const noWorse = ofPeakEwma({ figure: 'mean', most: 1.05 }, { figure: 'cpu', most: 1.03 })

const cases: Readonly<Record<string, Case>> = {
  'Ten endpoints are alike': { ...withControl, ...noWorse, endpoints: ten },
  'Alike, 500 requests/s': { ...withControl, ...noWorse, endpoints: ten, rate: 500 },
  'Alike, 70 % of saturation': {
    ...{ ...withControl, ...noWorse, endpoints: ten, connections: 100 },
    rate: { partOfSaturation: 0.7 },
  },
  // What a request takes Envoy drifts there, from 340 to 700 µs within two minutes: loads of 20 s would measure that.
  'Alike, on a busy machine': { ...withControl, ...noWorse, endpoints: ten, circumstance: 'busy machine', turn: 2 },
  'Alike, from the start of Envoy': { ...withControl, ...noWorse, endpoints: ten, circumstance: 'start' },
  'Alike, while endpoints come and go': { ...withControl, ...noWorse, endpoints: ten, circumstance: 'changes' },
  'Of ten endpoints one is ten times slower': {
    ...{ ...usual, endpoints: oneSlow },
    ...ofPeakEwma({ figure: 'p99', most: 0.3 }),
  },
  'One is ten times slower, 500 requests/s': {
    ...{ ...usual, endpoints: oneSlow, rate: 500 },
    ...ofPeakEwma({ figure: 'p99', most: 0.3 }),
  },
  'Of ten endpoints one stalls for half a second every four': {
    ...{ ...usual, endpoints: oneStalls },
    ...ofPeakEwma({ figure: 'p99.9', most: 0.1 }),
  },
  'Three endpoints are near, seven 20 ms away': {
    ...{ ...usual, endpoints: nearAndFar },
    ...ofPeakEwma({ figure: 'mean', most: 0.35 }),
  },
  'Endpoints of this zone have half as much to do again as they can': {
    ...{ ...usual, endpoints: tooFewHere, connections: 100 },
    variants: ['leastRequest', 'peakEwma', 'spillOver'],
    base: 'peakEwma',
    aims: { of: 'spillOver', most: [{ figure: 'p99', most: 0.2 }] },
  },
}

const shortCases = [
  'Ten endpoints are alike',
  'Of ten endpoints one is ten times slower',
  'Of ten endpoints one stalls for half a second every four',
  'Three endpoints are near, seven 20 ms away',
]

export const latency = experiment({
  name: 'latency',
  title: 'Balancing by latency',
  shows: `PEAK_EWMA beside LEAST_REQUEST, on the same endpoints and in turns. A round's ratio is of two loads that follow each other;
that of least request beside itself is what the machine's noise makes of 1. Under noise p99 and p99.9 are the machine's, whoever
chooses: \`native/test/simulation.c\` has the same endpoints without it. PEAK_EWMA is for Services whose endpoints differ, by
distance, node or load. Where they are alike it gains nothing, so it is not the default.`,
  minutes: { short: 1.2, full: 33 },
  options: {
    short: { cases: Object.fromEntries(shortCases.map(name => [name, cases[name]!])), rounds: 1, seconds: 5 },
    full: { cases, rounds: 3, seconds: 20 },
  },
  measure: measureServices,
})
