/** What a user's Services may cost Envoy. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { aPortState } from '../../src/services/testing.ts'
import { serve } from './envoy.ts'

/** Resident, in kB. */
function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1])
}

test('a port number that only one Service port has costs Envoy 30 kB at most', async t => {
  const ports = 500
  const memoryWith = async (portNumber: (i: number) => number) => {
    const states = Array.from({ length: ports }, (_, i) =>
      aPortState({
        id: `a/s/http-${i}`,
        vip: `127.9.${i >> 8}.${i & 255}`,
        port: { name: `http-${i}`, protocol: 'TCP', port: portNumber(i) },
      }),
    )
    return memoryOf((await serve(t, states, { bind: false })).pid)
  }
  const [one, many] = [await memoryWith(() => 20_000), await memoryWith(i => 20_000 + i)]
  assert.ok((many - one) / ports < 30, `${(many - one) / ports} kB`)
})
