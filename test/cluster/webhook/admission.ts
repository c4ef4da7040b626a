/** What every way of labelling Services at their creation is tested with, on a real API server. */

import assert from 'node:assert/strict'
import { type TestOptions, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { namespaces, serviceOf, type Vector, vectors } from '../../../src/services/handover/vectors.ts'
import type { ApiServerProcess } from '../apiserver.ts'

export const proxyName = 'service.kubernetes.io/service-proxy-name'
/** A Service that gets the label. */
export const plain = vectors[0]!

type Labels = Readonly<Record<string, string>>

export class Admission {
  readonly #server: ApiServerProcess
  #services = 0

  constructor(server: ApiServerProcess) {
    this.#server = server
  }

  async makeNamespaces(): Promise<void> {
    await this.#server.makeNamespaces(namespaces)
  }

  /** The labels of a Service once it is created. */
  async create(vector: Vector): Promise<Labels> {
    const path = `/api/v1/namespaces/${vector.namespace}/services`
    return labelsOf(await this.#server.must('POST', path, serviceOf(vector, `service-${this.#services++}`)))
  }

  /** The API server hears of its own configuration by a watch. */
  async untilInForce(): Promise<void> {
    await until('Services are labelled', async () => (await this.create(plain))[proxyName] !== undefined)
  }

  /** @param way as the titles name it */
  testVectors(way: string, options: TestOptions): void {
    for (const vector of vectors) {
      const says = vector.expected === undefined ? 'no label' : `the label is "${vector.expected}"`
      test(`${way}, ${vector.title}: ${says}`, options, async () => {
        const labels = { ...vector.labels, ...(vector.expected !== undefined && { [proxyName]: vector.expected }) }
        assert.deepEqual(await this.create(vector), labels)
      })
    }
  }
}

export function labelsOf(service: Readonly<Record<string, unknown>>): Labels {
  return (service.metadata as { labels?: Labels }).labels ?? {}
}

export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await holds()) return
    await delay(100)
  }
  throw new Error(`not after 30 s: ${what}`)
}
