/** Reads samples of clusters from the text of Envoy's `/stats/prometheus`. */

export interface ClusterSample {
  /** `envoy_cluster_upstream_rq_time`, and what follows it where the sample is one of a histogram (a counter may end so, too). */
  readonly base: string
  readonly suffix: '' | '_bucket' | '_sum' | '_count'
  readonly labels: ReadonlyMap<string, string>
  readonly value: number
}

const sample = /^([a-z_0-9]+?)(_bucket|_sum|_count)?\{(.*)\} (\S+)$/

export function* clusterSamples(texts: readonly string[]): Iterable<ClusterSample> {
  for (const line of texts.flatMap(text => text.split('\n'))) {
    if (!line.startsWith('envoy_cluster_')) continue
    const [, base, suffix = '', labels = '', value] = sample.exec(line) ?? []
    if (base === undefined) continue
    yield { base, suffix: suffix as ClusterSample['suffix'], labels: labelsIn(labels), value: Number(value) }
  }
}

function labelsIn(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key!, value!]))
}
