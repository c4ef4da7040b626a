/** Objects with lists as long as the API lets them be: what is made of one takes time in proportion to it. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { growth } from '../testing/steps.ts'
import { readSettings } from './annotations.ts'
import { parseObject } from './parse.ts'
import { aPort, aService } from './testing.ts'

/** Linear work, with what sorting adds. */
const mostGrowth = 5.5

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)

function rawService(spec: object, metadata: object = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'a', namespace: 'a', ...metadata },
    spec: { type: 'LoadBalancer', clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }], ...spec },
  }
}

const lists: Readonly<Record<string, (size: number) => unknown>> = {
  loadBalancerSourceRanges: size =>
    rawService({ loadBalancerSourceRanges: numbers(size).map(i => `10.${i >> 8}.${i & 255}.0/24`) }),
}

describe('Parsing is linear in', () => {
  for (const [what, rawOf] of Object.entries(lists)) {
    test(what, async () => {
      const raws = new Map([500, 2000].map(size => [size, rawOf(size)]))
      const ratio = await growth(size => parseObject(raws.get(size)), 500)
      assert.ok(ratio < mostGrowth, `four times as long a list took ${ratio} times the work`)
    })
  }
})

test('Of 9,000 unknown annotations ten are told, and how many more there are', async () => {
  const annotated = (size: number) => {
    const annotations = Object.fromEntries(numbers(size).map(i => [`config.lightpath.cloud/http-no-setting-${i}`, 'x']))
    return aService({ annotations, ports: numbers(size).map(i => aPort({ name: `http-${i}`, port: i + 1 })) })
  }
  const { problems } = readSettings(annotated(9000))
  assert.equal(problems.length, 11)
  assert.match(problems[10]!.reason, /^8990 more such problems/)
  const ratio = await growth(size => readSettings(annotated(size)), 500)
  assert.ok(ratio < mostGrowth, `four times as many took ${ratio} times the work`)
})
