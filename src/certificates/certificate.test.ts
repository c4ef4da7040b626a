import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { makeServerCertificate } from './certificate.ts'

test('a server certificate is of its authority, its names and its time, and the authority is one', () => {
  for (const to of ['2049-12-31T23:59:59Z', '2050-01-01T00:00:00Z']) {
    const from = new Date('2026-01-02T03:04:05Z')
    const made = makeServerCertificate(['a.svc', '127.0.0.1'], from, new Date(to))
    const authority = new X509Certificate(made.authority)
    const certificate = new X509Certificate(made.certificate)
    assert.ok(authority.ca && !certificate.ca)
    assert.ok(authority.verify(authority.publicKey) && certificate.verify(authority.publicKey))
    assert.ok(certificate.checkIssued(authority))
    assert.equal(certificate.subjectAltName, 'DNS:a.svc, IP Address:127.0.0.1')
    assert.deepEqual([certificate.validFromDate, certificate.validToDate], [from, new Date(to)])
    assert.ok(certificate.checkPrivateKey(createPrivateKey(made.key)))
  }
})

test('no two authorities share a name', () => {
  const make = () => new X509Certificate(makeServerCertificate(['a'], new Date(), new Date()).authority).subject
  assert.notEqual(make(), make())
})
