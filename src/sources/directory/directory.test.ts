import assert from 'node:assert/strict'
import { unlinkSync } from 'node:fs'
import { test } from 'node:test'

import { follow, service } from './testing.ts'

test('YAML and JSON files of any depth are read, with several documents and lists in one', async t => {
  const json = {
    apiVersion: 'v1',
    kind: 'List',
    items: [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }],
  }
  const { listener } = await follow(t, {
    'a.yaml': `${service('one')}---\n${service('two')}---\n# nothing\n---\n`,
    'deep/er/b.yml': `apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: three, namespace: shop}\n  spec: {clusterIP: None}\n`,
    'c.json': JSON.stringify(json),
    'notes.txt': 'no manifest',
    '.hidden.yaml': service('hidden'),
    'deployment.yaml': 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: one}\n',
  })
  assert.deepEqual([...listener.objects.keys()].sort(), [
    'Namespace shop',
    'Service shop/one',
    'Service shop/three',
    'Service shop/two',
  ])
  assert.deepEqual(listener.told(), [])
})

test('a Service that leaves its address to the API server is reported, as there is none', async t => {
  const spec = (text: string) => service('one').replace('clusterIP: 10.0.0.1', text)
  const { tells, write } = await follow(t, { 'a.yaml': spec('type: NodePort') })
  for (const whole of ['clusterIP: None', 'type: ExternalName', 'clusterIPs: [10.0.0.1]']) {
    await tells(/LP102 Service shop\/one: spec.clusterIP is missing.*it is not served/)
    write('a.yaml', spec(whole))
    await tells()
    write('a.yaml', spec("clusterIP: ''"))
  }
})

test('a broken document is reported with its line, the file’s former objects stay, and everything else applies', async t => {
  const { write, shows, tells, path } = await follow(t, {
    'a.yaml': `${service('one')}---\n${service('three')}`,
    'b.yaml': service('two'),
  })
  write('a.yaml', `${service('one', 81)}---\nkind: [\n---\n${service('four')}`)
  await tells(/^LP101 .*\/a\.yaml:[67]: .*this document is left out/)
  await shows('four:80', 'one:81', 'three:80', 'two:80')
  write('b.yaml', service('two', 82))
  await shows('four:80', 'one:81', 'three:80', 'two:82')
  write('a.yaml', service('one', 83))
  await shows('one:83', 'two:82')
  await tells()
  write('a.yaml', 'a: b: c')
  await tells(/LP101/)
  unlinkSync(path('a.yaml'))
  await shows('two:82')
  await tells()
})

test('a document that is broken from the start does not keep the rest waiting', async t => {
  const { shows, tells } = await follow(t, {
    'a.yaml': 'kind:\n\t- Service\n',
    'b.yaml': service('one'),
    'c.json': '{\n"kind": "Service",\n}',
  })
  await shows('one:80')
  await tells(/LP101 .*a\.yaml:2: .*[Tt]ab/, /LP101 .*c\.json:3: .*JSON/)
})

test('an alias that multiplies without end, or refers to itself, is a broken file', async t => {
  const laughs = Array.from({ length: 12 }, (_, i) => `- &a${i + 1} [${Array(10).fill(`*a${i}`)}]`).join('\n')
  const { tells } = await follow(t, {
    'a.yaml': `- &a0 ha\n${laughs}\n`,
    'b.yaml': 'kind: &x\n  y: *x\n',
    'c.yaml': `${'['.repeat(20_000)}`,
  })
  await tells(/LP101 .*a\.yaml:1: .*alias/, /LP101 .*b\.yaml:1: .*within itself/, /LP101 .*c\.yaml/)
})

test('byte order marks, CRLF and empty files are no problem', async t => {
  const { shows, tells } = await follow(t, {
    'a.yaml': `\uFEFF${service('one').replaceAll('\n', '\r\n')}`,
    'b.json': `\uFEFF{"apiVersion":"v1","kind":"Service","metadata":{"name":"two"},"spec":{"clusterIP":"10.0.0.2","ports":[{"port":80}]}}`,
    'c.yaml': '',
    'd.json': '\n',
    'e.yaml': '# a comment only\n',
  })
  await shows('one:80', 'two:80')
  await tells()
})

test('an object that lacks what it needs is reported with its line, and its neighbours apply', async t => {
  const { shows, tells } = await follow(t, {
    'a.yaml': `${service('one')}---\napiVersion: v1\nkind: Service\nmetadata: {}\n---\njust text\n`,
  })
  await shows('one:80')
  await tells(/LP102 \/.*a\.yaml:10: "just text"/, /LP102 Service in .*a\.yaml:6: metadata\.name/)
})

test('what is wrong with a file is reported without quoting it', async t => {
  const { tells } = await follow(t, {
    'a.yaml': 'secret: [hash',
    'b.json': 'root:secret:0:0',
    'c.yaml': 'secret: 1\nsecret: 2',
    'd.yaml': 'a: *secret',
  })
  const told = (name: string) => new RegExp(`^(?!.*secret).*LP10[12] .*${name}`)
  await tells(told('a.yaml'), told('b.json'), told('d.yaml'), told('c.yaml:1: kind'), told('c.yaml:2: a key'))
})

test('while a large file is read everything else goes on, and `synced` waits for it', async t => {
  const items = Array.from({ length: 3000 }, (_, i) => `- ${service(`a${i}`).trimEnd().replaceAll('\n', '\n  ')}\n`)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  t.after(() => clearInterval(timer))
  const { listener } = await follow(t, { 'a.yaml': `kind: List\napiVersion: v1\nitems:\n${items.join('')}` })
  assert.equal(listener.objects.size, 3000)
  assert.ok(turns > 50, `${turns} turns of the event loop`)
})
