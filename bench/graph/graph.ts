/** A service graph, as its file says it. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

export interface Graph {
  /** Bytes of the body of each request and of each answer. */
  readonly size: number
  /** Endpoints of each service. */
  readonly replicas: number
  /** By name; the first is what clients call. */
  readonly services: Readonly<Record<string, GraphService>>
  /** Per cent of requests that a service answers 500, by scenario and service. */
  readonly scenarios: Readonly<Record<string, Readonly<Record<string, number>>>>
}

interface GraphService {
  /** All at once, before it answers. */
  readonly calls?: readonly string[]
  /** Before it answers, as Go writes it: 5ms. */
  readonly delay?: string
  readonly replicas?: number
}

/** @param name of a file in this directory */
export function readGraph(name: string): Graph {
  return parse(readFileSync(join(import.meta.dirname, `${name}.yaml`), 'utf8')) as Graph
}

export function entranceOf({ services }: Graph): string {
  return Object.keys(services)[0]!
}

/** The part of its requests that fail where each failure of a service is handed on to the one that called it. */
export function failingShare(graph: Graph, scenario: string): number {
  const errors = graph.scenarios[scenario] ?? {}
  const good = (name: string): number =>
    (graph.services[name]!.calls ?? []).reduce((share, called) => share * good(called), 1 - (errors[name] ?? 0) / 100)
  return 1 - good(entranceOf(graph))
}

/** Flags of a service's server (bench/programs/serve.go). */
export function serverFlags(graph: Graph, scenario: string, name: string) {
  const { calls, delay } = graph.services[name]!
  return { calls: calls?.join(), delay, size: graph.size, errors: graph.scenarios[scenario]?.[name] }
}
