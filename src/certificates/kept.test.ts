import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { silentLog } from '../sources/testing.ts'
import { type Certificates, makeServerCertificate, type Served } from './certificate.ts'
import { keptCertificate } from './kept.ts'

const directory = join(mkdtempSync(join(tmpdir(), 'lightpath-kept-')), 'state')
const hour = 3600e3
const make = (): Served => {
  const now = Date.now()
  const { certificate, key } = makeServerCertificate(['a'], new Date(now - hour), new Date(now + hour))
  return { certificate, key }
}

after(() => rmSync(join(directory, '..'), { recursive: true }))

/** Serves this; undefined while the API server is away. */
function server(api: { now: Served | undefined }) {
  const served: Served[] = []
  const certificates: Certificates = use => async () => {
    if (!api.now) throw new Error('the API server is away')
    use(api.now)
  }
  const check = keptCertificate(certificates, directory, silentLog)(one => served.push(one))
  return { check, served }
}

test('a server that starts while the API server is away serves the certificate that was served last', async () => {
  const [old, renewed] = [make(), make()]
  const api: { now: Served | undefined } = { now: old }
  const first = server(api)
  await first.check()
  api.now = renewed
  await first.check()
  assert.deepEqual(first.served, [old, renewed])
  assert.equal(statSync(join(directory, 'tls.key')).mode & 0o777, 0o600)
  api.now = undefined
  await assert.rejects(first.check(), /the API server is away/)
  const second = server(api)
  await second.check()
  assert.deepEqual(second.served, [renewed])
  const [newest] = [make()]
  api.now = newest
  await second.check()
  assert.deepEqual(second.served, [renewed, newest])
})
