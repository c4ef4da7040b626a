import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import type { Ask } from '../cluster/api.ts'
import { trustInConfigMap } from '../controlplane/bundle.ts'
import { ApiError } from '../sources/api-server.ts'
import { type Raw, rawObject } from '../text/raw.ts'
import type { Served } from './certificate.ts'
import { keeper } from './keeper.ts'

const minute = 60_000
const day = 24 * 60 * minute

/** Holds objects by path, with versions that a PUT has to know. */
function objects() {
  const held = new Map<string, Raw>()
  let version = 0
  const ask: Ask = async (method, path, body) => {
    const name = String(rawObject(rawObject(body).metadata).name)
    const at = method === 'POST' ? `${path}/${name}` : path
    const before = held.get(at)
    if (method === 'GET' || method === 'PUT') {
      if (!before) throw new ApiError(404, `${at} does not exist`)
      if (method === 'GET') return before
    }
    const { metadata, data, stringData, ...others } = rawObject(body)
    const seen = rawObject(metadata).resourceVersion
    if (before && seen !== rawObject(before.metadata).resourceVersion) throw new ApiError(409, `${at} has changed`)
    const encoded = Object.entries(rawObject(stringData)).map(([key, text]) => [
      key,
      Buffer.from(`${text}`).toString('base64'),
    ])
    const kept = { ...others, data: { ...rawObject(data), ...Object.fromEntries(encoded) } }
    held.set(at, { ...kept, metadata: { ...rawObject(metadata), resourceVersion: String(++version) } })
    return held.get(at)!
  }
  const bundle = () => {
    const found = [...held].find(([path]) => path.endsWith('/configmaps/lightpath-controlplane-authority'))
    return String(rawObject(found?.[1].data)['ca.crt'])
  }
  return { ask, bundle }
}

/** A replica; one whose certificates last for much longer renews that of the others. */
function replica(ask: Ask, now: () => number, lifetimeMs = 90 * day) {
  let served: Served | undefined
  const options = { ask, secret: 'lightpath-controlplane', names: ['a.svc'], lifetimeMs }
  const trust = (authority: string) => trustInConfigMap(ask, authority, now)
  const check = keeper({ ...options, trust }, found => (served = found))
  return { check, serial: () => served && new X509Certificate(served.certificate).serialNumber, served: () => served }
}

test('a renewed certificate is served once every agent has its authority, by all replicas at the same time', async () => {
  const { ask, bundle } = objects()
  let now = Date.now()
  const [first, second] = [replica(ask, () => now), replica(ask, () => now)]
  await first.check()
  await second.check()
  const before = first.serial()
  assert.ok(before !== undefined)
  assert.equal(second.serial(), before)
  now += 60 * minute
  // The next certificate is due at once for this one.
  await replica(ask, () => now, 400 * day).check()
  for (const one of [first, second]) {
    await one.check()
    assert.equal(one.serial(), before)
    assert.ok(isTrusted(one.served()!, bundle()))
  }
  now += 5 * minute
  for (const one of [first, second]) {
    await one.check()
    assert.notEqual(one.serial(), before)
    assert.ok(isTrusted(one.served()!, bundle()))
  }
  assert.equal(first.serial(), second.serial())
})

function isTrusted({ certificate }: Served, bundle: string): boolean {
  const authorities = bundle.match(/-----BEGIN[\s\S]*?END CERTIFICATE-----\n/g) ?? []
  return authorities.some(one => new X509Certificate(certificate).checkIssued(new X509Certificate(one)))
}

test('a replica that starts serves what there is, and makes good what somebody has spoilt', async () => {
  const { ask, bundle } = objects()
  const one = replica(ask, Date.now)
  await one.check()
  const path = '/api/v1/namespaces/lightpath-system/configmaps/lightpath-controlplane-authority'
  await ask('PUT', path, { metadata: (await ask('GET', path)).metadata, data: { 'ca.crt': 'spoilt' } })
  const other = replica(ask, Date.now)
  await other.check()
  assert.equal(other.serial(), one.serial())
  assert.ok(isTrusted(other.served()!, bundle()))
})
