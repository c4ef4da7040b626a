/** Summarizes what a load client has measured. */

/** One request. */
export interface Sample {
  /** When it was sent, milliseconds since the epoch. */
  readonly at: number
  readonly ms: number
  readonly connection: number
  /** Who answered; absent where nobody did. */
  readonly endpoint?: string
  /** How the request came to the endpoint: through Envoy or through the kernel alone. */
  readonly layer?: string
  /** `HTTP 500` for an answer from 400 up, otherwise the error's code such as `ECONNRESET`. */
  readonly error?: string
}

/** Some of the good answers: how many, when the first was there and when the last was asked for (ms since the epoch). */
interface Share {
  readonly requests: number
  readonly first: number
  readonly last: number
}

export interface LoadReport {
  readonly requests: number
  readonly ok: number
  /** Good answers by the name of the pod that gave them. */
  readonly endpoints: Readonly<Record<string, Share>>
  /** Good answers by the layer that they came through: envoy, kernel. */
  readonly layers: Readonly<Record<string, Share>>
  /** The number of errors by kind. */
  readonly errors: Readonly<Record<string, number>>
  /** The first hundred. */
  readonly firstErrors: readonly Sample[]
  /** The latency of good answers; null when there was none. */
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number } | null
  /** For each connection the number of different pods that answered on it. */
  readonly endpointsPerConnection: readonly number[]
}

export function summarise(samples: readonly Sample[]): LoadReport {
  const good = samples.filter(sample => sample.error === undefined)
  const bad = samples.filter(sample => sample.error !== undefined)
  const latencies = good.map(sample => sample.ms).sort((a, b) => a - b)
  const connections = Map.groupBy(good, sample => sample.connection)
  return {
    requests: samples.length,
    ok: good.length,
    endpoints: shares(good, sample => sample.endpoint ?? 'unknown'),
    layers: shares(good, sample => sample.layer ?? 'unknown'),
    errors: mapGroups(
      bad,
      sample => sample.error!,
      its => its.length,
    ),
    firstErrors: bad.slice(0, 100),
    latencyMs:
      latencies.length === 0
        ? null
        : {
            p50: percentile(latencies, 50),
            p90: percentile(latencies, 90),
            p99: percentile(latencies, 99),
            max: latencies.at(-1)!,
          },
    endpointsPerConnection: [...connections]
      .sort(([a], [b]) => a - b)
      .map(([, its]) => new Set(its.map(s => s.endpoint)).size),
  }
}

/** The nearest-rank percentile of values in ascending order: the smallest that at least `p` % of them do not exceed. */
export function percentile(ascending: readonly number[], p: number): number {
  if (ascending.length === 0) throw new Error('no values: they have no percentile')
  return ascending[Math.max(0, Math.ceil((p / 100) * ascending.length) - 1)]!
}

function shares(samples: readonly Sample[], key: (sample: Sample) => string): Record<string, Share> {
  return mapGroups(samples, key, its => {
    const answered = its.reduce((first, { at, ms }) => Math.min(first, at + ms), Number.POSITIVE_INFINITY)
    const asked = its.reduce((last, { at }) => Math.max(last, at), 0)
    return { requests: its.length, first: Math.round(answered), last: asked }
  })
}

/** Applies `value` to each group, by the groups' names in order. */
function mapGroups<T>(
  samples: readonly Sample[],
  key: (sample: Sample) => string,
  value: (group: readonly Sample[]) => T,
): Record<string, T> {
  const groups = [...Map.groupBy(samples, key)].sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(groups.map(([name, group]) => [name, value(group)]))
}
