/** Objects with lists as long as the API lets them be: what is made of one takes time in proportion to it. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { growth } from '../testing/steps.ts'
import { parseObject } from './parse.ts'

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
