import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withoutSecrets } from './secrets.ts'

for (const [what, text] of [
  ['a bearer token', 'GET / with Authorization: Bearer hunter2.hunter2'],
  ['a token of a kubeconfig', 'users:\n- name: a\n  user:\n    token: hunter2-hunter2\n'],
  ['a token in JSON', '{"user": {"token":"hunter2\\"hunter2"}}'],
  ['a client key of a kubeconfig', '    client-key-data: hunter2aHVudGVyMg==\n'],
  ['a header of Envoy', '{"header": {"key": "x-api-key", "value": "hunter2"}}'],
  ['a cookie', '{\n "key": "Set-Cookie",\n "value": "id=hunter2; path=/"\n}'],
  ['a private key', 'a\n-----BEGIN RSA PRIVATE KEY-----\nhunter2\nhunter2\n-----END RSA PRIVATE KEY-----\nb'],
  ['a private key that was cut off', '-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2'],
  ['a URL with a password', 'not reachable: https://admin:hunter2@10.0.0.1:6443/api'],
  ['a flag', 'kubelet --bootstrap-token=hunter2 --v=2'],
] as const) {
  test(`${what} does not leave the node`, () => {
    const left = withoutSecrets(text)
    assert.doesNotMatch(left, /hunter2/)
    assert.match(left, /\[cut\]/)
  })
}

test('what is no secret stays as it is', () => {
  const text =
    '{"name": "default/web/http", "value": "1", "port_value": 80}\nservices 10.0.0.1 . tcp . 80 : goto endpoints-3\n'
  assert.equal(withoutSecrets(text), text)
})
