import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run } from '../../../src/lab/processes.ts'
import { serve, servicePort } from './envoy.ts'

test('the canary answers 200, and 503 once Envoy is told that it is to end', async t => {
  const state = await servicePort('whoami', 'http', [])
  const { canary, admin } = await serve(t, [state])
  const status = (path: string, url: string, method: string) =>
    run('curl', [
      '--silent',
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_code}',
      '--unix-socket',
      path,
      '-X',
      method,
      url,
    ])
  assert.equal((await status(canary.path, 'http://canary/', 'GET')).stdout, '200')
  assert.equal((await status(admin.path, 'http://admin/healthcheck/fail', 'POST')).stdout, '200')
  assert.equal((await status(canary.path, 'http://canary/', 'GET')).stdout, '503')
})
