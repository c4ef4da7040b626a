/** Objects as an API server has them, and what parsing makes of them, as tables for tests. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseObject } from './parse.ts'

export interface Case {
  readonly title: string
  readonly raw: unknown
  /** What the parsed object contains; undefined for no object. */
  readonly object?: Readonly<Record<string, unknown>>
  /** One pattern a problem, against `code object: reason; remedy`. */
  readonly problems?: readonly RegExp[]
  readonly ignored?: RegExp
}

export const service = (spec: unknown, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'shop', name: 'cart', ...metadata },
  spec,
})

export const slice = (fields: object, metadata: object = {}) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { namespace: 'shop', name: 'cart-1', labels: { 'kubernetes.io/service-name': 'cart' }, ...metadata },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  ...fields,
})

export const endpoints = (...raw: readonly object[]) => slice({ endpoints: raw })
const nowhere = { nodeName: undefined, zone: undefined, isPod: false }
const servesAlways = { ready: true, serving: true, terminating: false, ...nowhere }

/** An endpoint as it is read, of which nothing is written but its address and these. */
export const readEndpoint = (ip: string, traits: object = {}) => ({ ip, traits: { ...servesAlways, ...traits } })

export function testCases(cases: readonly Case[]): void {
  for (const { title, raw, object, problems = [], ignored } of cases) {
    test(title, () => {
      const parsed = parseObject(raw, 'a.yaml:3')
      const told = parsed.problems.map(p => `${p.code} ${p.object}: ${p.reason}; ${p.remedy}`)
      assert.equal(told.length, problems.length, told.join('\n'))
      problems.forEach((pattern, i) => {
        assert.match(told[i]!, pattern)
      })
      assert.match(parsed.ignored ?? '', ignored ?? /^$/)
      assert.equal(parsed.object !== undefined, object !== undefined)
      const fields = Object.keys(object ?? {}).map(key => [
        key,
        (parsed.object as unknown as Record<string, unknown>)[key],
      ])
      assert.deepEqual(Object.fromEntries(fields), object ?? {})
    })
  }
}
