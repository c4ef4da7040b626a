/** The module's table of endpoints, in the stock Envoy on loopback: full, it has room for who has few. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { readLatencies } from '../../../src/envoy/program/latencies.ts'
import type { PortState } from '../../../src/plan/ports/port.ts'
import type { LbPolicy } from '../../../src/services/settings/settings.ts'
import { eventually, exchange, httpEndpoint, serve, servicePort } from '../envoy/envoy.ts'

const run = promisify(execFile)
const mostEndpoints = 8

/** Builds the module with a table that is soon full, and returns its directory. */
async function buildSmall(directory: string): Promise<string> {
  const compiler = join(directory, 'cc')
  await writeFile(compiler, `#!/bin/sh\nexec gcc -DMOST_ENDPOINTS=${mostEndpoints} "$@"\n`)
  await chmod(compiler, 0o755)
  const module = join(directory, 'module')
  await run(join(import.meta.dirname, '../../../native/build'), [module], { env: { ...process.env, CC: compiler } })
  return module
}

async function portOf(t: TestContext, namespace: string, lbPolicy: LbPolicy, endpoints: number): Promise<PortState> {
  const ports = await Promise.all(
    Array.from({ length: endpoints }, async () => (await httpEndpoint(t, (_, response) => response.end('ok'))).port),
  )
  const state = await servicePort(lbPolicy.toLowerCase(), 'http', ports, { lbPolicy })
  return { ...state, namespace, id: state.id.replace('test/', `${namespace}/`) }
}

// With LEAST_REQUEST an endpoint comes into the table by its first try, with PEAK_EWMA by the first request to any.
for (const lbPolicy of ['LEAST_REQUEST', 'PEAK_EWMA'] as const) {
  test(`where one namespace has all places, with ${lbPolicy}, those that have few get some`, async t => {
    const directory = await mkdtemp(join(tmpdir(), 'lightpath-table-'))
    t.after(() => rm(directory, { recursive: true }))
    const module = await buildSmall(directory)
    const greedy = await portOf(t, 'greedy', lbPolicy, 12)
    const bank = await portOf(t, 'bank', 'LEAST_REQUEST', 1)
    const shop = await portOf(t, 'shop', 'PEAK_EWMA', 2)
    const known = ({ endpoints }: PortState) => readLatencies(directory, endpoints).size
    const ask = async ({ port }: PortState) =>
      assert.match(await exchange(t, port.port, 'GET / HTTP/1.0\r\n\r\n'), /200 OK/)
    await serve(t, [greedy, bank, shop], { latencies: directory, module })
    for (let times = 0; known(greedy) < mostEndpoints; times++) {
      assert.ok(times < 500, `${known(greedy)} places`)
      await ask(greedy)
    }
    await ask(bank)
    await ask(shop)
    await eventually(
      () => known(bank) === 1,
      () => 'the place of a try',
    )
    assert.equal(known(shop), 2)
    assert.equal(known(greedy), mostEndpoints - 3)
  })
}
